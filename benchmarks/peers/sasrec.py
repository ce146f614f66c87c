"""RePlay's SASRec as a peer: softmax over all items or, in large catalogues, drawn ones; read at several epochs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from make_lists import Fold

#: Items up to which the softmax is over all of them; beyond, over this many drawn ones.
FULL, DRAWN = 10_000, 256
BATCH = 128


def sasrec(
    fold: Fold, settings: Mapping[str, Any], seed: int, length: int
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Lists after each number of ``settings["epochs"]``, with that number.

    Args:
        fold: what is trained on and who is asked about.
        settings: ``epochs`` (rising numbers), ``max_seq_len``, ``hidden_size``, ``dropout_rate``, ``learning_rate``.
        seed: of the weights, the order and what is drawn.
        length: of the lists.
    """
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import lightning
    import torch
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import PandasSequentialDataset, TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.models.nn.optimizer_utils import FatOptimizerFactory
    from replay.models.nn.sequential import SasRec
    from replay.models.nn.sequential.sasrec import SasRecPredictionDataset, SasRecTrainingDataset

    lightning.seed_everything(seed, verbose=False)
    items = pd.Index(fold.items)
    rows = fold.train.assign(row=items.get_indexer(fold.train["item"]))
    sequences = rows.groupby("user", sort=False)["row"].apply(np.array)
    users = pd.Index(sequences.index)
    # Where histories are short, padding them all to the full length would be most of the work.
    most = min(settings["max_seq_len"], int(np.ceil(sequences.map(len).quantile(0.95))))
    schema = TensorSchema(
        TensorFeatureInfo(
            "item_id",
            feature_type=FeatureType.CATEGORICAL,
            is_seq=True,
            cardinality=len(items),
            padding_value=len(items),
            embedding_dim=settings["hidden_size"],
            feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
        )
    )
    frame = pd.DataFrame({"user_id": np.arange(len(users)), "item_id": sequences.to_list()})
    trained_on = PandasSequentialDataset(schema, "user_id", "item_id", frame)
    asked = frame.iloc[users.get_indexer(fold.users)]
    asked_about = PandasSequentialDataset(schema, "user_id", "item_id", asked)
    model = SasRec(
        schema,
        block_count=2,
        head_count=2,
        hidden_size=settings["hidden_size"],
        max_seq_len=most,
        dropout_rate=settings["dropout_rate"],
        loss_type="CE",
        loss_sample_count=None if len(items) <= FULL else DRAWN,
        optimizer_factory=FatOptimizerFactory(learning_rate=settings["learning_rate"]),
    )
    windows = SasRecTrainingDataset(trained_on, most, sliding_window_step=most)
    batches = torch.utils.data.DataLoader(windows, batch_size=BATCH, shuffle=True)
    questions = torch.utils.data.DataLoader(SasRecPredictionDataset(asked_about, most), batch_size=BATCH)
    found: list[tuple[dict[str, Any], pd.DataFrame]] = []

    class Read(lightning.Callback):
        """Makes the lists at the epochs asked for."""

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            epoch = trainer.current_epoch + 1
            if epoch in settings["epochs"]:
                pl_module.eval()
                with torch.no_grad():
                    scores = [pl_module.predict(_on(batch, pl_module.device)).cpu().numpy() for batch in questions]
                pl_module.train()
                found.append(({"epochs": [epoch]}, _lists(scores, asked["item_id"], fold.users, items, length)))
                print(f"  {epoch} epochs", flush=True)

    lightning.Trainer(
        max_epochs=max(settings["epochs"]), callbacks=[Read()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(model, batches)  # fmt: skip
    return found


def _on(batch: Any, device: Any) -> Any:
    if isinstance(batch, dict):
        return {name: _on(one, device) for name, one in batch.items()}
    return batch.to(device)


def _lists(scores: list[np.ndarray], seen: pd.Series, users: list[str], items: pd.Index, length: int) -> pd.DataFrame:
    """The best of what a user has not seen; ``scores`` come in batches of (b, n_items)."""
    parts, at = [], 0
    for batch in scores:
        for one in batch:
            one[seen.iloc[at]] = -np.inf
            best = np.argsort(-one, kind="stable")[:length]
            best = best[np.isfinite(one[best])]
            parts.append(pd.DataFrame({"user": users[at], "item": items[best], "score": one[best].astype(np.float64)}))
            at += 1
    return pd.concat(parts, ignore_index=True)
