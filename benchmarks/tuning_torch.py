"""Fine-tuning of a sentence encoder by PyTorch, with the recipe of `lca_jax.training` written plainly.

AdamW without decay of biases and norms, gradients clipped by their norm, a rate that rises and falls linearly, dropout
as the model's configuration has it, the mean over the pieces of the words, batches padded to their longest text. Order,
classifier and dropout are drawn by NumPy and PyTorch, so that the result is another sample of the same recipe.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.tuned_texts import Parts
from lca_jax.text.corpus import Corpus
from lca_jax.training.settings import Tuning, rate_of_step

_MEASURED_AT_ONCE = 64


def tune_with_torch(folder: Path, texts: Parts, tuning: Tuning) -> dict[str, Any]:
    """Tunes on a task of sentences, and measures as `tune` does: the first best step on dev is kept for test."""
    done, lap = harness.clock(lambda: _Run(folder, texts, tuning).to_end())
    return {"seed": tuning.seed, **done, "seconds": lap.wall_s, "cpu_s": lap.cpu_s}


class _Run:
    """One tuning; PyTorch is imported where it is used, as elsewhere."""

    def __init__(self, folder: Path, texts: Parts, tuning: Tuning) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.manual_seed(tuning.seed)
        (task,) = texts.train.sentence_tasks
        self.tuning, self.task, self.classes = tuning, task, texts.train.classes(task)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder)
        self.head = torch.nn.Linear(self.model.config.hidden_size, len(self.classes))
        torch.nn.init.normal_(self.head.weight, std=self.model.config.initializer_range)
        torch.nn.init.zeros_(self.head.bias)
        self.texts = {part: self._read(corpus) for part, corpus in texts._asdict().items()}
        parameters = [*self.model.named_parameters(), *self.head.named_parameters()]
        plain = [value for name, value in parameters if value.ndim == 1]
        decayed = [value for name, value in parameters if value.ndim > 1]
        groups = [
            {"params": decayed, "weight_decay": tuning.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.trained = [*decayed, *plain]
        self.adam = torch.optim.AdamW(groups, lr=tuning.rate)

    def to_end(self) -> dict[str, Any]:
        """Does all steps; returns accuracies at the best one on dev."""
        pieces, classes = self.texts["train"]
        generator, size = np.random.default_rng(self.tuning.seed), self.tuning.batch
        epoch = -(-len(pieces) // size)
        steps, every = self.tuning.epochs * epoch, self.tuning.evaluate_every or epoch
        best, step = {"dev": 0.0, "test": 0.0, "best_step": 0}, 0
        for _ in range(self.tuning.epochs):
            for batch in np.array_split(generator.permutation(len(pieces)), epoch):
                self._step([pieces[number] for number in batch], classes[batch], rate_of_step(self.tuning, step, steps))
                step += 1
                if step % every == 0 or step == steps:
                    dev = self._accuracy("dev")
                    if dev > best["dev"]:
                        best = {"dev": dev, "test": self._accuracy("test"), "best_step": step}
        return {"steps": steps, "best_step": best["best_step"], "accuracy": {"dev": best["dev"], "test": best["test"]}}

    def _read(self, corpus: Corpus) -> tuple[list[list[int]], np.ndarray]:
        """Returns the pieces of every sentence, without special ones, and its class."""
        kept = self.model.config.max_position_embeddings - 2
        texts = [" ".join(words) for words in corpus.sentences]
        pieces = [ids[:kept] for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        return pieces, np.array([self.classes.index(str(label)) for label in corpus.sentence_labels[self.task]])

    def _logits(self, texts: list[list[int]]) -> Any:
        import torch

        longest = max(map(len, texts)) + 2
        ids = torch.zeros((len(texts), longest), dtype=torch.long)
        attended, read = torch.zeros_like(ids), torch.zeros((len(texts), longest))
        for number, pieces in enumerate(texts):
            whole = [self.tokenizer.cls_token_id, *pieces, self.tokenizer.sep_token_id]
            ids[number, : len(whole)] = torch.tensor(whole)
            attended[number, : len(whole)] = 1
            read[number, 1 : len(whole) - 1] = 1 / len(pieces)
        states = self.model(input_ids=ids, attention_mask=attended).last_hidden_state
        return self.head(torch.einsum("bp,bpn->bn", read, states))

    def _step(self, texts: list[list[int]], classes: np.ndarray, rate: float) -> None:
        import torch

        self.model.train()
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.zero_grad()
        torch.nn.functional.cross_entropy(self._logits(texts), torch.from_numpy(classes)).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.tuning.clip)
        self.adam.step()

    def _accuracy(self, part: str) -> float:
        import torch

        self.model.eval()
        pieces, classes = self.texts[part]
        order = sorted(range(len(pieces)), key=lambda number: len(pieces[number]))
        right = 0
        with torch.no_grad():
            for first in range(0, len(order), _MEASURED_AT_ONCE):
                batch = order[first : first + _MEASURED_AT_ONCE]
                found = self._logits([pieces[number] for number in batch]).argmax(dim=1).numpy()
                right += int((found == classes[batch]).sum())
        return right / len(pieces)
