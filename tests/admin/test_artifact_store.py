from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skysail.admin.artifact_store import ArtifactStore
from skysail.topics.artifacts import MANIFEST, Manifest
from skysail.topics.errors import ArtifactError, InvalidNameError, ManagerError, PayloadTooLargeError, SignatureError
from tests.admin.artifacts import KEY, chunks_of, sealed, zip_of


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "artifacts", KEY)
    store.prepare()
    return store


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def take_in(store: ArtifactStore, data: bytes, name: str = "m", version: str = "1") -> Manifest:
    async with store.incoming(name, version, chunks_of(data)) as incoming:
        incoming.put_in_place()
        return incoming.manifest


def left_behind(tmp_path: Path) -> list[Path]:
    return files_in(tmp_path / "artifacts")


async def test_an_artifact_that_is_sound_is_put_in_its_place(store: ArtifactStore, tmp_path: Path) -> None:
    manifest = sealed(tmp_path / "made")
    assert await take_in(store, zip_of(tmp_path / "made")) == manifest
    assert store.has("m", "1")
    assert store.manifest("m", "1") == manifest
    assert (store.folder("m", "1") / "func.pkl").read_bytes() == b"a pickle"
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == {"models"}


async def test_an_artifact_that_was_not_put_in_its_place_is_gone(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    async with store.incoming("m", "1", chunks_of(zip_of(tmp_path / "made"))) as incoming:
        assert incoming.manifest.name == "m"
    assert not store.has("m", "1")
    assert left_behind(tmp_path) == []


async def test_an_artifact_replaces_the_one_that_was_there(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "first", content=b"first")
    sealed(tmp_path / "second", content=b"second")
    await take_in(store, zip_of(tmp_path / "first"))
    await take_in(store, zip_of(tmp_path / "second"))
    assert (store.folder("m", "1") / "func.pkl").read_bytes() == b"second"


async def test_others_may_read_what_was_put_in_its_place(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    await take_in(store, zip_of(tmp_path / "made"))
    assert store.folder("m", "1").stat().st_mode & 0o055 == 0o055


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/evil", "..", "sub/../../../evil", "..\\evil", "a/..", "/evil"],  # noqa: S108
)
async def test_an_entry_that_lies_outside_is_refused_and_nothing_is_written(
    store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    sealed(tmp_path / "made")
    with pytest.raises(ArtifactError, match="lies outside of it"):
        await take_in(store, zip_of(tmp_path / "made", {name: b"evil"}))
    assert left_behind(tmp_path) == []
    assert not [path for path in files_in(tmp_path) if path.name == "evil"]


async def test_a_link_in_a_zip_becomes_no_link(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    packed = tmp_path / "packed.zip"
    packed.write_bytes(zip_of(tmp_path / "made"))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArtifactError, match="link is not in the manifest"):
        await take_in(store, packed.read_bytes())
    assert left_behind(tmp_path) == []


async def test_an_upload_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    data = zip_of(tmp_path / "made")
    store = ArtifactStore(tmp_path / "artifacts", KEY, largest_bytes=len(data) - 1)
    with pytest.raises(PayloadTooLargeError, match=f"larger than {len(data) - 1} bytes"):
        await take_in(store, data)
    assert left_behind(tmp_path) == []


async def test_an_upload_that_unpacks_to_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    sealed(tmp_path / "made", content=bytes(1_000_000))
    data = zip_of(tmp_path / "made")
    assert len(data) < 10_000
    store = ArtifactStore(tmp_path / "artifacts", KEY, largest_bytes=900_000)
    with pytest.raises(PayloadTooLargeError, match="when unpacked"):
        await take_in(store, data)
    assert left_behind(tmp_path) == []


async def test_an_entry_that_lies_about_its_size_is_not_unpacked_beyond_it(tmp_path: Path) -> None:
    """A zip bomb's directory says little and its data is much: what is read ends at what was said."""
    sealed(tmp_path / "made", content=bytes(1_000_000))
    data = bytearray(zip_of(tmp_path / "made"))
    told, truth = (10).to_bytes(4, "little"), (1_000_000).to_bytes(4, "little")
    data = data.replace(truth, told)
    store = ArtifactStore(tmp_path / "artifacts", KEY, largest_bytes=900_000)
    with pytest.raises(ArtifactError):
        await take_in(store, bytes(data))
    assert left_behind(tmp_path) == []


async def test_a_zip_of_too_many_files_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLargeError, match="holds 10001 files"):
        await take_in(store, zip_of(None, {f"{number}": b"" for number in range(10_001)}))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + bytes(10)])
async def test_what_is_no_zip_is_refused(store: ArtifactStore, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArtifactError, match="not a zip file"):
        await take_in(store, data)
    assert left_behind(tmp_path) == []


async def test_a_zip_whose_data_is_damaged_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made", content=b"z" * 500)
    data = bytearray(zip_of(tmp_path / "made"))
    data[40] ^= 0xFF  # behind the first entry's header of 38 bytes
    with pytest.raises(ArtifactError, match="not a zip file that can be read"):
        await take_in(store, bytes(data))
    assert left_behind(tmp_path) == []


def packed_by(method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("skysail.json", "{}" * 50)
        archive.writestr("modèle/func.pkl", bytes(range(256)) * 10)
    return packed.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_of_any_kind_is_an_artifact_error(
    store: ArtifactStore, tmp_path: Path, method: int, data: st.DataObject
) -> None:
    damaged = bytearray(packed_by(method))
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=4)).items():
        damaged[place] = value
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder, contextlib.suppress(ArtifactError, PayloadTooLargeError):
        store._unpack(io.BytesIO(bytes(damaged)), Path(folder))
    assert not (tmp_path / "func.pkl").exists()


async def test_damaged_lzma_is_an_artifact_error(store: ArtifactStore) -> None:
    damaged = bytearray(packed_by(zipfile.ZIP_LZMA))
    damaged[damaged.index(b"func.pkl") + 40] ^= 0xFF
    with pytest.raises(ArtifactError, match="not a zip file that can be read"):
        await take_in(store, bytes(damaged))


async def test_a_name_that_is_no_utf_8_is_an_artifact_error(store: ArtifactStore) -> None:
    data = packed_by(zipfile.ZIP_STORED).replace("modèle".encode(), b"mod\xff\xfele")
    with pytest.raises(ArtifactError, match="not a zip file that can be read: 'utf-8' codec can't decode"):
        await take_in(store, data)


async def test_a_disk_that_is_full_is_no_fault_of_the_artifact(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(tmp_path / "made")
    full = partial(Path("/dev/full").open, "wb", buffering=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full())
    with pytest.raises(ManagerError, match="cannot be stored: No space left on device"):
        await take_in(store, zip_of(tmp_path / "made"))
    assert left_behind(tmp_path) == []


async def test_an_artifact_that_was_altered_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    (tmp_path / "made" / "func.pkl").write_bytes(b"evil")
    with pytest.raises(ArtifactError, match=r"func\.pkl is not what the manifest says"):
        await take_in(store, zip_of(tmp_path / "made"))
    assert left_behind(tmp_path) == []


async def test_a_file_that_the_manifest_does_not_name_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    with pytest.raises(ArtifactError, match=r"sitecustomize\.py is not in the manifest"):
        await take_in(store, zip_of(tmp_path / "made", {"sitecustomize.py": b"evil"}))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "reason"), [(b"another key", "made with another key"), (None, "signature of artifact m/1 is missing")]
)
async def test_an_artifact_that_is_not_signed_with_the_key_is_refused(
    store: ArtifactStore, tmp_path: Path, key: bytes | None, reason: str
) -> None:
    sealed(tmp_path / "made", key=key)
    with pytest.raises(SignatureError, match=reason):
        await take_in(store, zip_of(tmp_path / "made"))
    assert left_behind(tmp_path) == []


async def test_an_artifact_of_another_version_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made", "m", "2")
    with pytest.raises(ArtifactError, match=r"is of m/2, not of m/1"):
        await take_in(store, zip_of(tmp_path / "made"))


async def test_a_zip_without_a_manifest_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=MANIFEST):
        await take_in(store, zip_of(None, {"func.pkl": b""}))


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "m."])
async def test_a_name_that_is_none_never_becomes_a_path(store: ArtifactStore, name: str) -> None:
    with pytest.raises(InvalidNameError):
        store.folder(name, "1")
    with pytest.raises(InvalidNameError):
        store.folder("m", name)


async def test_an_artifact_that_is_altered_in_its_place_is_noticed(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    await take_in(store, zip_of(tmp_path / "made"))
    (store.folder("m", "1") / "func.pkl").write_bytes(b"evil")
    with pytest.raises(ArtifactError, match="is not what the manifest says"):
        store.manifest("m", "1")


async def test_an_artifact_is_removed_and_removing_it_again_is_no_error(store: ArtifactStore, tmp_path: Path) -> None:
    sealed(tmp_path / "made")
    await take_in(store, zip_of(tmp_path / "made"))
    store.remove("m", "1")
    store.remove("m", "1")
    assert not store.has("m", "1")


def test_what_a_crash_left_half_taken_in_is_removed_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / "artifacts" / ".incoming-abc"
    left.mkdir(parents=True)
    (left / "half").touch()
    ArtifactStore(tmp_path / "artifacts", KEY).prepare()
    assert not left.exists()
