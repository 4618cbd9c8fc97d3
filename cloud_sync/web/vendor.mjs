// Copies what the pages need out of node_modules into static/vendor, with licences, and makes the embedded basemap:
// `npm ci && npm run vendor`. The result is committed, so that neither a browser nor a set-up needs npm or the network.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as topojson from "topojson-client";
import { presimplify, simplify } from "topojson-simplify";

const OUT = new URL("static/vendor/", import.meta.url);
const TESTS = new URL("../../tests/browser/vendor/", import.meta.url);
const MODULES = new URL("node_modules/", import.meta.url);

// Around the Himalaya borders are drawn finely; the rest of the world is there to recognise where one is.
const FINE = ["Nepal", "Bhutan", "India", "China", "Bangladesh", "Myanmar", "Pakistan", "Afghanistan", "Tajikistan",
  "Kyrgyzstan", "Laos", "Thailand", "Vietnam", "Sri Lanka"];
const FINE_DEG2 = 1e-4;
const ISLAND_DEG2 = 0.05;
// Of degrees: 1 km where borders are fine, as fine as they are drawn; 10 km elsewhere. The basemap comes over weak links.
const FINE_DECIMALS = 2;
const COARSE_DECIMALS = 1;

rmSync(OUT, { recursive: true, force: true });
for (const folder of [OUT, TESTS]) mkdirSync(folder, { recursive: true });
for (const [from, to] of [
  ["maplibre-gl/dist/maplibre-gl.mjs", "maplibre-gl.mjs"],
  ["maplibre-gl/dist/maplibre-gl-worker.mjs", "maplibre-gl-worker.mjs"],
  ["maplibre-gl/dist/maplibre-gl.css", "maplibre-gl.css"],
  ["maplibre-gl/LICENSE.txt", "maplibre-gl.LICENSE.txt"],
  ["bootstrap/dist/css/bootstrap.min.css", "bootstrap.min.css"],
  ["bootstrap/LICENSE", "bootstrap.LICENSE.txt"],
  ["world-atlas/LICENSE", "world-atlas.LICENSE.txt"],
]) copyFileSync(new URL(from, MODULES), new URL(to, OUT));
for (const name of ["axe.min.js", "LICENSE"]) copyFileSync(new URL(`axe-core/${name}`, MODULES), new URL(name, TESTS));
for (const name of ["maplibre-gl.mjs", "maplibre-gl-worker.mjs", "bootstrap.min.css"]) dropSourceMap(new URL(name, OUT));

writeFileSync(new URL("basemap.json", OUT), JSON.stringify(basemap()));

function dropSourceMap(file) {
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace(/\n?(\/\/|\/\*)# sourceMappingURL=.*$/s, "\n"));
}

function basemap() {
  const fine = simplify(presimplify(atlas("countries-10m.json")), FINE_DEG2);
  const coarse = atlas("countries-110m.json");
  const isFine = (country) => FINE.includes(country.properties.name);
  const within = { type: "GeometryCollection", geometries: countries(fine).filter(isFine) };
  const beyond = { type: "GeometryCollection", geometries: countries(coarse).filter((c) => !isFine(c)) };
  return {
    land: collection([
      rounded(topojson.merge(coarse, beyond.geometries), COARSE_DECIMALS),
      rounded(mainland(topojson.merge(fine, within.geometries)), FINE_DECIMALS),
    ]),
    borders: collection([
      rounded(topojson.mesh(coarse, beyond, (a, b) => a !== b), COARSE_DECIMALS),
      rounded(topojson.mesh(fine, within, (a, b) => a !== b), FINE_DECIMALS),
    ]),
    labels: collection(
      within.geometries.map((country) => [
        rounded(middle(topojson.feature(fine, country).geometry), FINE_DECIMALS), country.properties]),
    ),
  };
}

function atlas(name) {
  return JSON.parse(readFileSync(new URL(`world-atlas/${name}`, MODULES)));
}

function countries(topology) {
  return topology.objects.countries.geometries;
}

function collection(items) {
  const features = items.map((item) => {
    const [geometry, properties] = Array.isArray(item) ? item : [item, {}];
    return { type: "Feature", properties, geometry };
  });
  return { type: "FeatureCollection", features };
}

function rounded(geometry, decimals) {
  return { ...geometry, coordinates: near(geometry.coordinates, decimals, geometry.type.endsWith("Polygon") ? 4 : 2) };
}

// Rounds positions, leaves out those that fall onto the one before, and lines or rings that are left with too few.
function near(coordinates, decimals, least) {
  if (typeof coordinates === "number") return Number(coordinates.toFixed(decimals));
  const inner = coordinates.map((part) => near(part, decimals, least));
  if (typeof inner[0] === "number") return inner;
  const depth = (part) => (Array.isArray(part) ? 1 + depth(part[0]) : 0);
  if (depth(inner[0]) === 1) {
    const apart = inner.filter(([x, y], i) => i === 0 || x !== inner[i - 1][0] || y !== inner[i - 1][1]);
    return apart.length >= least ? apart : [];
  }
  return inner.filter((part) => part.length > 0);
}

function mainland(land) {
  return { ...land, coordinates: land.coordinates.filter(([shore]) => centroid(shore)[2] / 2 > ISLAND_DEG2) };
}

// The centroid of the largest part.
function middle(geometry) {
  const rings = geometry.type === "Polygon" ? [geometry.coordinates[0]] : geometry.coordinates.map((p) => p[0]);
  const [x, y] = rings.map(centroid).sort((a, b) => b[2] - a[2])[0];
  return { type: "Point", coordinates: [x, y] };
}

function centroid(ring) {
  let area = 0, x = 0, y = 0;
  for (let i = 0; i + 1 < ring.length; i += 1) {
    const cross = ring[i][0] * ring[i + 1][1] - ring[i + 1][0] * ring[i][1];
    area += cross;
    x += (ring[i][0] + ring[i + 1][0]) * cross;
    y += (ring[i][1] + ring[i + 1][1]) * cross;
  }
  return [x / (3 * area), y / (3 * area), Math.abs(area)];
}
