from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from skysail.topics.artifacts import MANIFEST, Environment, Manifest, seal, verify
from skysail.topics.errors import ArtifactError, SignatureError
from skysail.topics.specs import InputType

KEY = b"a secret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "modules" / "deep").mkdir(parents=True)
    (folder / "model.pkl").write_bytes(b"pickled")
    (folder / "modules" / "deep" / "features.py").write_text("x = 1\n")
    (folder / "empty").touch()
    return folder


def manifest() -> Manifest:
    return Manifest(
        name="digits",
        version="1",
        framework="sklearn",
        entry_point="model.pkl",
        input_type=InputType.DOUBLES,
        environment=Environment(python="3.11", distributions={"numpy": "2.0"}),
    )


@pytest.mark.parametrize("key", [None, KEY])
def test_what_was_sealed_is_verified(folder: Path, key: bytes | None) -> None:
    sealed = seal(folder, manifest(), key)
    assert set(sealed.files) == {"model.pkl", "modules/deep/features.py", "empty"}
    assert bool(sealed.signature) == (key is not None)
    assert verify(folder, key) == sealed


def test_sealing_again_after_a_change_makes_it_whole_again(folder: Path) -> None:
    first = seal(folder, manifest(), KEY)
    (folder / "model.pkl").write_bytes(b"other")
    second = seal(folder, manifest(), KEY)
    assert first.digest != second.digest
    assert verify(folder, KEY) == second


def test_the_digest_covers_every_file_and_every_field_but_not_the_signature(folder: Path) -> None:
    unsigned = seal(folder, manifest(), None)
    assert seal(folder, manifest(), KEY).digest == unsigned.digest
    other = msgspec.structs.replace(manifest(), entry_point="empty")
    assert seal(folder, other, None).digest != unsigned.digest


def test_an_altered_file_is_named(folder: Path) -> None:
    seal(folder, manifest(), KEY)
    (folder / "model.pkl").write_bytes(b"evil")
    with pytest.raises(ArtifactError, match=r"artifact digits/1: model\.pkl is not what the manifest says"):
        verify(folder, KEY)


def test_a_missing_file_is_named(folder: Path) -> None:
    seal(folder, manifest(), KEY)
    (folder / "modules" / "deep" / "features.py").unlink()
    with pytest.raises(ArtifactError, match=r"modules/deep/features\.py is missing"):
        verify(folder, KEY)


def test_a_file_that_nobody_sealed_is_named(folder: Path) -> None:
    seal(folder, manifest(), KEY)
    (folder / "modules" / "numpy.py").write_text("import os")
    with pytest.raises(ArtifactError, match=r"modules/numpy\.py is not in the manifest"):
        verify(folder, KEY)


def test_a_second_manifest_deeper_down_is_a_file_like_any_other(folder: Path) -> None:
    seal(folder, manifest(), KEY)
    (folder / "modules" / MANIFEST).write_text("{}")
    with pytest.raises(ArtifactError, match=r"modules/skysail\.json is not in the manifest"):
        verify(folder, KEY)


@pytest.mark.parametrize("target", ["model.pkl", "/etc/hostname", "modules", "nowhere"])
def test_a_symbolic_link_is_refused_when_sealing_and_when_verifying(folder: Path, target: str) -> None:
    seal(folder, manifest(), KEY)
    (folder / "link").symlink_to(target)
    with pytest.raises(ArtifactError, match="link is a symbolic link"):
        verify(folder, KEY)
    with pytest.raises(ArtifactError, match="link is a symbolic link"):
        seal(folder, manifest(), KEY)


def test_a_manifest_that_is_a_symbolic_link_is_refused(folder: Path, tmp_path: Path) -> None:
    seal(folder, manifest(), None)
    (folder / MANIFEST).rename(tmp_path / "elsewhere.json")
    (folder / MANIFEST).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArtifactError, match="symbolic link"):
        verify(folder, None)


def test_an_altered_manifest_does_not_pass_for_signed(folder: Path) -> None:
    seal(folder, manifest(), KEY)
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"entry_point": "model.pkl"', b'"entry_point": "empty"'))
    with pytest.raises(SignatureError, match="made with another key, or the manifest was altered"):
        verify(folder, KEY)


def test_a_signature_by_another_key_is_refused(folder: Path) -> None:
    seal(folder, manifest(), b"another")
    with pytest.raises(SignatureError, match="made with another key"):
        verify(folder, KEY)


def test_an_unsigned_artifact_is_refused_where_there_is_a_key(folder: Path) -> None:
    seal(folder, manifest(), None)
    with pytest.raises(SignatureError, match="the signature of artifact digits/1 is missing"):
        verify(folder, KEY)


def test_a_signed_artifact_is_taken_where_there_is_no_key(folder: Path) -> None:
    sealed = seal(folder, manifest(), KEY)
    assert verify(folder, None) == sealed


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"{}", b'{"name": 1}', b'{"name": "\xff"}', b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "null", "[]", "{}", "number", "no-utf-8-inside", "no-utf-8", "deep"],
)
def test_what_is_no_manifest_is_an_artifact_error(folder: Path, data: bytes) -> None:
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"skysail\.json is not a manifest"):
        verify(folder, None)


def test_a_folder_without_a_manifest_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        verify(tmp_path, None)


def test_a_manifest_of_another_format_is_refused(folder: Path) -> None:
    seal(folder, msgspec.structs.replace(manifest(), format=2), None)
    with pytest.raises(ArtifactError, match="has format 2; this release reads 1"):
        verify(folder, None)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_a_manifest_cannot_name_a_file_outside_its_folder(folder: Path, name: str) -> None:
    sealed = seal(folder, manifest(), None)
    forged = msgspec.structs.replace(sealed, files={**sealed.files, name: "00" * 32})
    (folder / MANIFEST).write_bytes(msgspec.json.encode(forged))
    with pytest.raises(ArtifactError, match="is missing"):
        verify(folder, None)


def test_a_signature_or_hash_that_is_no_hex_is_wrong_like_any_other(folder: Path) -> None:
    sealed = seal(folder, manifest(), KEY)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(sealed, signature="ü")))
    with pytest.raises(SignatureError, match="made with another key"):
        verify(folder, KEY)
    (folder / MANIFEST).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(sealed, files={**sealed.files, "empty": "ü"}))
    )
    with pytest.raises(ArtifactError, match="empty is not what the manifest says"):
        verify(folder, None)


def test_nothing_is_signed_or_verified_with_an_empty_key(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="the signing key is empty"):
        seal(folder, manifest(), b"")
    seal(folder, manifest(), None)
    with pytest.raises(ArtifactError, match="the signing key is empty"):
        verify(folder, b"")
