"""``minialex data``: images to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import console, messages, number, remark
from minialex.cli.progress import counting, tell_skipped
from minialex.cli.streams import lines_are_remarks
from minialex.data import find_unreadable, pack_images, write_digits
from minialex.data.folders import find_dataset_folders
from minialex.data.pack import part_folder
from minialex.wording import counted, one_line


@click.group(short_help="Pack a folder of images, check one, or write the digits as one.")
def data() -> None:
    """Pack a folder of images for quick loading, check one, or write the built-in digits as one."""


@data.command(short_help="Handwritten digits, 64x64.")
@click.argument("out", type=click.Path(path_type=Path))
def digits(out: Path) -> None:
    """Write the built-in handwritten digits to OUT/train/<digit>/*.png and OUT/val/<digit>/*.png.

    These are the training and validation images of `minialex train` without a folder. OUT
    must not exist, or be empty.
    """
    lines_are_remarks()
    with counting(messages, "writing") as move:
        train, val = write_digits(out, progress=move)
    console.print(
        f"{train:,} training images and {val:,} validation images are in {out}; "
        f"try: minialex train {out} --recipe digits"
    )


@data.command(short_help="Decode and resize each image once, for quick loading.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=number,
    default=256,
    show_default=True,
    metavar="N",
    help="Resize images whose shorter side is longer to this; keep others as they are.",
)
@click.option("--skip-unreadable", is_flag=True, help="Skip images that cannot be read; list them.")
def pack(folder: Path, out: Path, size: int, skip_unreadable: bool) -> None:
    """Decode the images of FOLDER once, and write them to OUT as arrays of bytes.

    OUT takes the place of FOLDER for every command: train, evaluate, kfold, predict and the
    others. Loading an image from it needs no decoding. It takes about 270 kB per photograph
    at --size 256, and is read through the system's cache.

    What was stopped goes on where it was when the same command is given again: until it is
    whole, the pack is called OUT.part.

    \b
    Examples:
      minialex data pack photos photos.pack
      minialex train photos.pack
    """
    lines_are_remarks()
    progress = [0, 0]

    def count(done: int, total: int) -> None:
        progress[:] = done, total
        move(done, total)

    with counting(messages, "packing") as move:
        try:
            packed = pack_images(
                folder,
                out,
                side=size,
                skip_unreadable=skip_unreadable,
                progress=count,
                tell=remark,
            )
        except BaseException:
            done, total = progress
            if 0 < done < total:
                where = part_folder(out)
                remark(
                    f"{done:,} of {counted(total, 'image')} are in {where}: the same command "
                    "goes on there"
                )
            raise
    tell_skipped(messages, packed.skipped)
    console.print(
        f"{counted(packed.images, 'image')} ({packed.pixel_bytes / 1e6:,.1f} MB) are in {out}; "
        f"try: minialex train {out}"
    )


@data.command(short_help="Read every image of a folder or pack to its end.")
@click.argument("folder", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Read every image of FOLDER to its end; of a pack, compare it with its checksum.

    Exit status 1 if one is damaged.
    """
    bad, total = [], 0
    for images in find_dataset_folders(folder).open():
        with counting(messages, f"checking {one_line(str(images.root))}") as move:
            bad += find_unreadable(images, progress=move)
        total += len(images)
    for image in bad:
        remark(f"{image.name}: {image.reason}")
    verdict = f"FAIL: {counted(len(bad), 'image')} of" if bad else "PASS: all"
    console.print(f"{verdict} {counted(total, 'image')} of {folder}")
    if bad:
        raise click.exceptions.Exit(1)
