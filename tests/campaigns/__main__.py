"""``python -m tests.campaigns NAME --count N --seed N``: a campaign, with one line at its end."""

import sys
import time

import click
from rich.console import Console
from rich.progress import Progress

from tests.campaigns.campaign import campaigns


@click.command()
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(1), help="How many attempts.  [its whole length]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="At a time.")
def main(name: str | None, count: int | None, seed: int, jobs: int) -> None:
    """Run the campaign NAME; without a name, list them. Status 1 where a fault was found."""
    known = campaigns()
    if name is None:
        for known_name, campaign in known.items():
            click.echo(f"{known_name:20} {campaign.count:,} {campaign.what}")
        return
    if name not in known:
        raise click.UsageError(f"unknown campaign {name!r}; known: {', '.join(known)}")
    campaign = known[name]
    if campaign.lacks():
        raise click.UsageError(f"{campaign.needs} is missing: pip install -e '.[campaigns]'")
    count, began = count or campaign.count, time.monotonic()
    tried, faults = 0, []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=count)
        for number, found in campaign.run(count, seed, jobs):
            tried, faults = tried + number, faults + found
            progress.update(task, advance=number)
            for fault in found:
                click.echo(fault)
    outcome = f"{len(faults)} faults" if faults else "no fault"
    seconds = time.monotonic() - began
    click.echo(f"{name}: {tried:,} {campaign.what} from seed {seed}, {outcome}, {seconds:.0f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
