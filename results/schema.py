"""What a run leaves behind: file names and the columns of its tables.

One run folder holds

==================  =======================================================================================
``config.json``     the resolved configuration with its identities: :class:`results.records.RunRecord`
``environment.json``  commit, versions, device, threads, durations: :class:`results.records.Environment`
``data.json``       one record a data set that was used: :class:`results.records.DataRecord`
``status``          first line ``running``, ``done`` or ``failed``; further lines say why, or warn
``rhythm.parquet``  :data:`RHYTHM_COLUMNS`, one row a recorded step and task
``scores.csv``      :data:`SCORE_COLUMNS`, one row an image and metric
``conflicts.parquet``  :data:`CONFLICT_COLUMNS`, where task gradients were probed
``curve.parquet``  :data:`CURVE_COLUMNS`, where the training was validated on its way
``checkpoint.pt``   everything needed to continue or to restore images; while training also the one before,
                    ``checkpoint-previous.pt``
``start.pt``        on the worker of a cluster alone: what the run starts from
``digests.json``    of every file above but the checkpoints, which carry their own: ``{file: [digest, of the file
                    before]}``, and its own; a file that fits neither, or is gone, is damaged
==================  =======================================================================================

:class:`results.store.Run` reads all of them, and says which is damaged; nothing else opens them.
"""

RHYTHM_COLUMNS = ("step", "task", "loss", "running", "pace", "weight")
"""``step`` counts from 1. ``loss``: mean error (``train.loss``) of the task's samples in that batch, NaN without any.
``running``: the level Lbar after the step, ``Lbar <- a L + (1 - a) Lbar`` with a = 0.01 and Lbar = 0.1 at the start,
for every strategy alike, so that rhythms compare. ``pace``: loss / level before the step. ``weight``: the factor of
the task's loss in the update, NaN where a strategy has no such factor."""

CONFLICT_COLUMNS = ("step", "task", "other", "cosine", "norm")
"""Gradients of two tasks' losses on fixed batches after ``step`` steps: ``cosine`` between them, in [-1, 1], and the
``norm`` of the first (a row ``task == other`` for each task). Below 0 an update for one task hurts the other."""

CURVE_COLUMNS = ("step", "task", "images", "seconds", "psnr")
"""Validation on the way, about 20 points a run: after ``step`` steps, when training had seen so many ``images`` of the
task and had taken so many ``seconds`` without scoring. ``psnr``: of the weights that would be scored if it ended there,
dB, mean over held-out images, RGB in [0, 1]; not by the protocol of the test scores. NaN for outputs that are not
finite."""

SCORE_COLUMNS = ("dataset", "task", "image", "protocol", "metric", "value", "input_value", "pixels")
"""``value``: the metric (PSNR in dB) of the restored image, ``input_value``: of the degraded input, both against the
clean image. ``pixels``: a digest of the test image's pixels (the clean file's, and the degraded one's where there is
one), so that only scores of equal images are compared; empty in runs of older versions."""

CONFIG, ENVIRONMENT, DATA, STATUS = "config.json", "environment.json", "data.json", "status"
RHYTHM, SCORES, CHECKPOINT = "rhythm.parquet", "scores.csv", "checkpoint.pt"
PREVIOUS = "checkpoint-previous.pt"
CONFLICTS, CURVE = "conflicts.parquet", "curve.parquet"
PROGRESS = "progress.json"
START = "start.pt"
DIGESTS = "digests.json"
GUARDED = (CONFIG, ENVIRONMENT, DATA, STATUS, RHYTHM, SCORES, CONFLICTS, CURVE)
"""Files whose digests are kept."""

STORE = 2
"""Version of this layout, ``store`` in ``config.json``: from 2 on there are digests."""
