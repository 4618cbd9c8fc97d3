"""Blob Storage, through azure-storage-blob, and the proxy that fails on purpose."""

import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas

PICTURE = os.urandom(3_000_000)


@pytest.fixture
def container(local_azure):
    text = local_azure.service_env["STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(text, retry_total=0, read_timeout=60) as service:
        client = service.get_container_client(f"test-{uuid.uuid4().hex[:8]}")
        client.create_container()
        yield client
    local_azure.restore("blob-proxy")


def test_a_picture_is_stored_once(container):
    blob = container.get_blob_client("2026/11/22/ü é+%.jpg")
    blob.upload_blob(PICTURE)
    with pytest.raises(ResourceExistsError):
        blob.upload_blob(b"another")
    assert blob.download_blob().readall() == PICTURE
    assert [one.name for one in container.list_blobs()] == ["2026/11/22/ü é+%.jpg"]


def test_a_gateways_link_lets_it_write_to_its_own_container_only(container):
    account = container.credential
    token = generate_container_sas(
        account.account_name,
        container.container_name,
        account_key=account.account_key,
        permission=ContainerSasPermissions(create=True, write=True),
        expiry=datetime.now(UTC) + timedelta(minutes=5),
    )
    with ContainerClient.from_container_url(f"{container.url}?{token}", retry_total=0) as own:
        own.upload_blob("a.jpg", PICTURE)
        with pytest.raises(HttpResponseError, match="Auth"):
            own.download_blob("a.jpg")
    with (
        ContainerClient.from_container_url(f"{container.url}2?{token}", retry_total=0) as other,
        pytest.raises(HttpResponseError, match="Auth"),
    ):
        other.upload_blob("a.jpg", PICTURE)


def test_a_refusal_of_a_large_picture_arrives_however_early_storage_refuses(container):
    with ContainerClient.from_container_url(f"{container.url}?sig=forged", retry_total=0) as forged:
        for n in range(20):  # of a broken connection, every second one would be
            with pytest.raises(HttpResponseError, match="Auth"):
                forged.upload_blob(f"{n}.jpg", PICTURE)


@pytest.mark.parametrize(("status", "code"), [(403, ""), (409, "BlobAlreadyExists"), (429, ""), (500, ""), (503, "")])
def test_storage_refuses_as_often_as_told(container, local_azure, status, code):
    local_azure.fault("blob-proxy", "storage", status=status, error_code=code, next=1, method="PUT")
    with pytest.raises(HttpResponseError) as error:
        container.upload_blob("a.jpg", PICTURE)
    assert error.value.status_code == status
    assert error.value.error_code
    container.upload_blob("a.jpg", PICTURE)
    assert local_azure.faults("blob-proxy")["storage"]["hits"] == 1


def test_a_cut_before_the_end_of_the_request_stores_nothing(container, local_azure):
    local_azure.fault("blob-proxy", "storage", cut_at="request", next=1, method="PUT")
    with pytest.raises(AzureError):
        container.upload_blob("a.jpg", PICTURE)
    with pytest.raises(ResourceNotFoundError):
        container.get_blob_client("a.jpg").get_blob_properties()


def test_a_cut_before_the_answer_leaves_what_was_stored(container, local_azure):
    local_azure.fault("blob-proxy", "storage", cut_at="response", next=1, method="PUT")
    with pytest.raises(AzureError):
        container.upload_blob("a.jpg", PICTURE)
    assert container.download_blob("a.jpg").readall() == PICTURE


def test_a_download_is_cut_half_way(container, local_azure):
    container.upload_blob("a.jpg", PICTURE)
    local_azure.fault("blob-proxy", "storage", cut_at="response", method="GET")
    with pytest.raises(AzureError):
        container.download_blob("a.jpg").readall()


def test_storage_hangs_until_it_is_let_go(container, local_azure):
    local_azure.fault("blob-proxy", "storage", hang=True, path="a.jpg")
    with pytest.raises(AzureError):
        container.upload_blob("a.jpg", b"x", read_timeout=1)
    local_azure.restore("blob-proxy")
    container.upload_blob("a.jpg", b"x", overwrite=True)


def test_the_same_seed_fails_the_same_requests(container, local_azure):
    def failures():
        local_azure.fault("blob-proxy", "storage", status=500, probability=0.5, seed=11, method="PUT")
        outcomes = []
        for n in range(12):
            try:
                container.upload_blob(f"{n}.jpg", b"x", overwrite=True)
                outcomes.append(True)
            except HttpResponseError:
                outcomes.append(False)
        return outcomes

    first = failures()
    assert set(first) == {True, False}
    assert failures() == first
