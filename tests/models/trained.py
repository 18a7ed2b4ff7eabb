"""Trained checkpoints beside PyTorch's, and text of the kind that each was trained on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lca_jax.models.model import Model
from tests.models.parity import PLACES, Comparison, Reference

ENGLISH = """The neuron that fires on plural nouns is not the neuron that fires on verbs .
Yesterday , Dr. Müller 's team published 3,141 measurements .
No !
We asked whether the committee , which had met twice that week , would publish its findings before the summer recess .
Colorless green ideas sleep furiously , and nobody in the room thought that it was at all remarkable that they did .
pip install some-package==1.2.3 && python -m some_package --verbose
Where were you when the lights went out ?"""
STORY = """Once upon a time, there was a little boy named Tom. He had a small red boat.
Tom and his mom went to the lake to play. The sun was warm and the water was blue.
"Look, mom! My boat can swim!" he said. His mom smiled and gave him a big hug.
But then the wind came and took the boat away. Tom was very sad, so a kind duck pushed it back to him.
No!"""
REACTIONS = """CC(=O)O.OCC>>CC(=O)OCC.O
O=C(O)c1ccccc1O.CC(=O)OC(C)=O>>CC(=O)Oc1ccccc1C(=O)O
OB(O)c1ccccc1.Brc1ccc(C)cc1.O=C([O-])[O-].[Na+].[Na+]>>Cc1ccc(-c2ccccc2)cc1
CCO"""
MANY_SCRIPTS = """query: Where were you when the lights went out ?
query: 昨天 研究 小组 公布 了 三千 个 数据 。
passage: Вчера доктор опубликовал 3 141 измерение .
passage: نشر الطبيب أمس ثلاثة آلاف قياس .
passage: यह एक छोटा वाक्य है ।
Nein !"""
FEW = """The committee published its findings before the summer recess.
def add(a, b): return a + b
No!"""


class Trained(NamedTuple):
    """A checkpoint and what to run it on."""

    model_type: str
    text: str
    head: str = "MaskedLM"
    has_head: bool = True
    """Whether the checkpoint has the weights of its head; sentence encoders do not."""


TRAINED = {
    "minilm": Trained("bert", ENGLISH + "\n" + ENGLISH.replace("\n", " ")[:420], has_head=False),
    "tinystories-260k": Trained("llama", STORY, "CausalLM"),
    "albert-rxn": Trained("albert", REACTIONS),
    "me5-small": Trained("bert", MANY_SCRIPTS, has_head=False),
    "smollm2-135m": Trained("llama", FEW, "CausalLM"),
    "marian-tiny-en-pt": Trained("marian", ENGLISH, "Seq2SeqLM", has_head=False),
}


def compare(model: Model, trained: Trained, folder: Path) -> Comparison:
    """Lines of text as windows, alone and packed, beside PyTorch's model in float32 (some files are float16)."""
    torch = pytest.importorskip("torch")
    import transformers

    build = getattr(transformers, f"AutoModelFor{trained.head}").from_pretrained
    theirs = build(folder, local_files_only=True, dtype=torch.float32).eval()
    places = PLACES[trained.model_type]
    if theirs.config.is_encoder_decoder:
        # Its decoder is an SSRU, which PyTorch's model does not support; the texts that it writes test it.
        theirs, places = theirs.get_encoder(), places._replace(blocks=places.blocks.removeprefix("model.encoder."))
    reference = Reference(theirs, model.config, places)
    windows = [np.asarray(ids, np.int32) for ids in model.tokenizer(trained.text.splitlines())["input_ids"]]
    return Comparison(model, reference, windows, slots=-(-max(map(len, windows)) // 16) * 16)
