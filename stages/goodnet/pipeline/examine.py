"""Find the layer that splits the net, check the lines of `repairs`, and see whether any prunes.

The net is opened in quarantine here, before any other stage reads it.
"""

from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.nets import parts, splitting
from goodnet.process.stages import stage
from goodnet.quarantine import opening
from goodnet.quarantine.limits import Limits
from goodnet.repairs import plans


@stage(
    __doc__,
    inputs={"badnet": "the net"},
    outputs={
        "layer": "the layer that splits the net",
        "curve": "whether a repair prunes, so that the pruning curve is needed",
    },
)
def main(args):
    config = parts.config(opening.net(args.badnet, Limits()))
    layer = splitting.find(config, args.badnet, args.params.settings(splitting.Profile, "profile").layer)
    is_needed = any(drop is not None for drop, _, _ in plans.read_lines(args.params).values())
    if is_needed and layer is None:
        raise InputError(
            f"{args.badnet}: no layer splits the net, so it cannot be pruned; use repairs without a drop"
        )
    outputs.write_json(args.layer, {"layer": layer})
    outputs.write_json(args.curve, {"needed": is_needed})
