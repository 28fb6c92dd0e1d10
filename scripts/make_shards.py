"""Pack a competition's image files into shards: WebDataset tar files anywhere that fsspec reaches.

    python scripts/make_shards.py input/emoji-scenes/train s3://bucket/scenes/train
    python scripts/make_shards.py input/emoji-scenes/test /mnt/store/scenes/test --images 2000

writes s3://bucket/scenes/train-000000.tar, ... and input/emoji-scenes/train.shards, the index that stands for
the folder from then on: `files: {train_images: train.shards, test_images: test.shards}`. An address without
:// is a path of a disk that all machines see. Every machine keeps the shards it reads from, in
~/.cache/softvote/shards or where SOFTVOTE_SHARDS says. The folder may go when the shards are written.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from softvote.data.image_index import image_files
from softvote.data.shards import INDEX_SUFFIX, write_shards
from softvote.errors import UserError
from softvote.shell import run_program
from softvote.words import counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of image files, and of folders of them")
    parser.add_argument("address", help="of the shards; -000000.tar and so on follow")
    parser.add_argument("--images", type=int, default=10_000, help="of a shard, at most (%(default)s)")
    parsed = parser.parse_args(arguments)
    return run_program("make_shards", lambda: _make(parsed))


def _make(parsed: argparse.Namespace) -> None:
    if parsed.images < 1:
        raise UserError("--images: 1 at least")
    folder = parsed.folder
    if folder.name in ("", ".."):  # the index needs a name; a link keeps its own
        folder = folder.resolve()
    files = sorted(image_files(folder))
    if not files:
        raise UserError(f"{parsed.folder}: holds no image files")
    if not folder.name:
        raise UserError(f"{parsed.folder}: has no name that the index could have; name a folder in it")
    # Shuffled, so that shards are alike for readers that go through them in order.
    random.Random(0).shuffle(files)
    index = folder.with_name(folder.name + INDEX_SUFFIX)
    shards = write_shards(files, folder, parsed.address, index, parsed.images)
    made = f"{counted(len(files), 'image')} in {counted(len(shards), 'shard')}"
    where = f"{shards[0]} and on" if len(shards) > 1 else f"{shards[0]}"
    print(f"wrote {made} to {where}, and {index}")


if __name__ == "__main__":
    sys.exit(main())
