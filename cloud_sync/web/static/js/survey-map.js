// The map itself: MapLibre GL over the embedded basemap, or over a style of the organisation's own.

const COLOURS = { panda: "#b33a10", review: "#e0a100", quiet: "#35708f", empty: "#ffffff" };
const NOTHING = { type: "FeatureCollection", features: [] };
const CLOSEST_ZOOM = 10;
const TAP_PX = 8;

export class SurveyMap {
  // Resolves when the map can be drawn on; rejects where it cannot, as without WebGL.
  static async open(target) {
    const library = await import(target.dataset.library);
    library.setWorkerUrl(new URL(target.dataset.worker, globalThis.location.href).href);
    library.prewarm(); // the worker comes over the link beside the basemap, not after it
    const isPlaced = /(^#|&)map=/.test(globalThis.location.hash); // before the map writes its own place there
    const box = JSON.parse(target.dataset.box);
    const style = target.dataset.style || embeddedStyle(await (await fetch(target.dataset.basemap)).json(), box);
    const map = new library.Map({
      container: target,
      style,
      bounds: [[box[0], box[1]], [box[2], box[3]]],
      hash: "map",
      attributionControl: { compact: true },
      dragRotate: false,
      pitchWithRotate: false,
    });
    map.touchZoomRotate.disableRotation();
    map.addControl(new library.NavigationControl({ showCompass: false }));
    map.addControl(new library.ScaleControl({ maxWidth: 120 }), "bottom-right");
    await new Promise((resolve, reject) => {
      map.once("load", resolve);
      map.once("error", (event) => reject(event.error));
    });
    return new SurveyMap(library, map, target, isPlaced);
  }

  constructor(library, map, target, isPlaced) {
    this.library = library;
    this.map = map;
    this.target = target;
    this.isPlaced = isPlaced;
    this.texts = JSON.parse(target.dataset.texts);
    map.getCanvas().setAttribute("aria-label", this.texts.canvas);
    map.addSource("survey", { type: "geojson", data: NOTHING });
    for (const layer of layers()) map.addLayer(layer);
    map.on("click", (event) => this.choose(event));
    for (const layer of ["cameras", "cells"]) {
      map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
      map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
    }
  }

  show(survey) {
    this.map.getSource("survey").setData(survey);
    this.target.dataset.features = survey.features.length;
    if (!this.isPlaced) this.fit(survey.features.filter((f) => f.properties.kind === "camera"));
    this.isPlaced = true;
    this.map.once("idle", () => { this.target.dataset.drawn = "true"; });
  }

  heat(visible) {
    this.map.setLayoutProperty("heat", "visibility", visible ? "visible" : "none");
  }

  fit(cameras) {
    if (!cameras.length) return;
    const bounds = new this.library.LngLatBounds();
    for (const camera of cameras) bounds.extend(camera.geometry.coordinates);
    this.map.fitBounds(bounds, { padding: 60, maxZoom: CLOSEST_ZOOM, animate: false });
  }

  // One camera under the finger: its pictures. Several: a choice.
  choose({ point, lngLat }) {
    const around = [[point.x - TAP_PX, point.y - TAP_PX], [point.x + TAP_PX, point.y + TAP_PX]];
    const found = this.map.queryRenderedFeatures(around, { layers: ["cameras"] });
    const cameras = [...new Map(found.map((f) => [f.properties.key, f.properties])).values()];
    if (cameras.length === 1) globalThis.location.assign(`/cameras/${cameras[0].key}`);
    if (cameras.length > 1) {
      new this.library.Popup({ maxWidth: "20rem" }).setLngLat(lngLat).setDOMContent(choice(cameras, this.texts.row)).addTo(this.map);
    }
  }
}

function choice(cameras, text) {
  const list = document.createElement("div");
  for (const camera of cameras) {
    const row = document.createElement("div");
    row.className = "popup-row";
    const link = document.createElement("a");
    link.href = `/cameras/${camera.key}`;
    link.textContent = camera.label;
    row.append(link, ` ${text.replace(/{(\w+)}/g, (_, name) => camera[name])}`);
    list.append(row);
  }
  return list;
}

function layers() {
  const is = (kind) => ["==", ["get", "kind"], kind];
  const camera = { source: "survey", filter: is("camera") };
  const state = ["match", ["get", "state"], ...Object.entries(COLOURS).flat(), COLOURS.empty];
  return [
    { id: "cells", type: "fill", source: "survey", filter: is("cell"),
      paint: { "fill-color": "#1f3a2d", "fill-opacity": 0.12, "fill-outline-color": "#1f3a2d" } },
    { ...camera, id: "heat", type: "heatmap", filter: ["all", is("camera"), [">", ["get", "panda"], 0]],
      layout: { visibility: "none" },
      paint: {
        "heatmap-weight": ["ln", ["+", 1, ["get", "panda"]]],
        "heatmap-radius": ["interpolate", ["linear"], ["zoom"], 4, 18, 10, 80],
        "heatmap-intensity": 1,
        "heatmap-opacity": 0.75,
        "heatmap-color": ["interpolate", ["linear"], ["heatmap-density"],
          0, "rgba(255,255,255,0)", 0.25, "#fde3a7", 0.5, "#f2a65a", 0.75, "#d9601a", 1, "#8f2304"],
      } },
    { ...camera, id: "cameras", type: "circle",
      layout: { "circle-sort-key": ["match", ["get", "state"], "panda", 3, "review", 2, "quiet", 1, 0] },
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 4, 5, 9, 9],
        "circle-color": state,
        "circle-opacity": ["case", ["get", "ended"], 0.6, 1],
        "circle-stroke-color": ["match", ["get", "state"], "empty", "#555555", "#ffffff"],
        "circle-stroke-width": 2,
      } },
    { ...camera, id: "camera-labels", type: "symbol", minzoom: 6,
      layout: {
        "text-field": ["get", "label"],
        "text-font": ["Noto Sans Regular"],
        "text-size": 13,
        "text-variable-anchor": ["top", "bottom", "left", "right"],
        "text-radial-offset": 0.9,
        "text-optional": true,
      },
      paint: { "text-color": "#1f2a24", "text-halo-color": "#ffffff", "text-halo-width": 1.6 } },
  ];
}

function embeddedStyle(basemap, box) {
  const source = (data, more = {}) => ({ type: "geojson", data, ...more });
  return {
    version: 8,
    sources: {
      land: source(basemap.land, { attribution: "Borders as they are in fact: Natural Earth" }),
      borders: source(basemap.borders),
      countries: source(basemap.labels),
      degrees: source(degrees(box)),
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": "#cfe0e6" } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": "#f4f1e6", "fill-antialias": false } },
      { id: "degrees", type: "line", source: "degrees", paint: { "line-color": "#8b8674", "line-opacity": 0.25 } },
      { id: "borders", type: "line", source: "borders",
        paint: { "line-color": "#8f8a78", "line-width": ["interpolate", ["linear"], ["zoom"], 3, 0.7, 8, 1.8] } },
      { id: "degree-labels", type: "symbol", source: "degrees", minzoom: 6.5,
        layout: { "symbol-placement": "line", "text-field": ["get", "text"], "text-size": 11, "symbol-spacing": 400 },
        paint: { "text-color": "#6d6857", "text-halo-color": "#f4f1e6", "text-halo-width": 1 } },
      { id: "countries", type: "symbol", source: "countries", maxzoom: 7,
        layout: { "text-field": ["get", "name"], "text-size": 13, "text-letter-spacing": 0.12, "text-transform": "uppercase" },
        paint: { "text-color": "#6d6857", "text-halo-color": "#f4f1e6", "text-halo-width": 1.2 } },
    ],
  };
}

// Whole degrees, so that a place can be read off a map that has no towns.
function degrees([west, south, east, north]) {
  const lines = [];
  const add = (text, coordinates) => lines.push({
    type: "Feature", properties: { text }, geometry: { type: "LineString", coordinates } });
  for (let x = Math.ceil(west) - 5; x <= east + 5; x += 1) add(`${x}° E`, [[x, south - 5], [x, north + 5]]);
  for (let y = Math.ceil(south) - 5; y <= north + 5; y += 1) add(`${y}° N`, [[west - 5, y], [east + 5, y]]);
  return { type: "FeatureCollection", features: lines };
}
