from tests.alone import faulty_disk, faulty_disk_library  # noqa: F401 - fixtures
