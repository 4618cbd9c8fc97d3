"""What the courier of pictures relies on: the real adapter against Azurite, and the storage that tests simulate."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edge_module.blobs import Blobs, UploadSas
from edge_module.errors import BlocksForgotten, CredentialRefused
from edge_module.pictures import Store
from tests.storage import SimulatedStore

BLOCKS = {base64.b64encode(b"%06d" % n).decode(): bytes([n]) * 1000 for n in range(3)}


@dataclass
class Place:
    """A storage, and what lies in it."""

    store: Store
    read: Callable[[str], bytes]


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "simulated":
        simulated = SimulatedStore()
        return Place(simulated, lambda name: simulated.blobs[name])
    running = request.getfixturevalue("running")
    own = f"own-{running.name}"
    container = running.service.create_container(own)
    blobs = Blobs()
    blobs.set_credential(UploadSas.from_json(running.credential(own)))
    return Place(blobs, lambda name: container.download_blob(name).readall())


def test_there_already_is_success_and_what_came_first_stays(place: Place) -> None:
    place.store.put("crop/a.jpg", b"first", content_type="image/jpeg")
    place.store.put("crop/a.jpg", b"second", content_type="image/jpeg")
    assert place.read("crop/a.jpg") == b"first"


def test_blocks_become_a_blob_in_the_order_of_the_list_and_again_is_success(place: Place) -> None:
    for block_id, content in reversed(BLOCKS.items()):
        place.store.put_block("original/b.avi", block_id, content)
        place.store.put_block("original/b.avi", block_id, content)
    for _ in range(2):
        place.store.commit("original/b.avi", list(BLOCKS), content_type="video/x-msvideo")
    assert place.read("original/b.avi") == b"".join(BLOCKS.values())


def test_a_block_that_is_not_there_is_told(place: Place) -> None:
    first, *_ = BLOCKS
    place.store.put_block("original/c.avi", first, BLOCKS[first])
    with pytest.raises(BlocksForgotten):
        place.store.commit("original/c.avi", list(BLOCKS), content_type="video/x-msvideo")


def test_nothing_goes_without_a_credential() -> None:
    for store in (Blobs(), SimulatedStore(has_credential=False)):
        assert not store.has_credential
        with pytest.raises(CredentialRefused):
            store.put("crop/a.jpg", b"x", content_type="image/jpeg")
