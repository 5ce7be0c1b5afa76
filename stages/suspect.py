"""Name the classes an attacker wants from clean images alone, and tell which repairs still give them."""

from goodnet import architecture, archive, command, data, goodnets, networks, outputs, search, suspects


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        valid="clean validation images; their classes are not looked at",
        plans="folder of plans, which says what repairs there are",
        repaired="folder of the repaired nets",
        metrics="who is named, to be written",
        pictures="shares and pictures for the report, to be written",
    )
    settings = command.read_settings(args.params, "suspect", **suspects.SETTINGS)
    wanted = command.read_params(args.params, "profile", "layer")
    input_max = command.read_input_max(args.params)
    config, _ = archive.read(args.badnet)
    pruned = architecture.find_pruned_layer(config, args.badnet, wanted)
    badnet = networks.load(args.badnet)
    trunk = networks.as_function(networks.up_to(badnet, pruned.name))

    def split(repaired):
        left = goodnets.channels_left(badnet, repaired, pruned)
        return search.split(repaired, None if left is None else (trunk, pruned.name, left))

    # By their plans, whatever else lies in the folder of nets.
    names = sorted(path.stem for path in args.plans.glob("*.json"))
    nets = {name: split(networks.load(args.repaired / f"{name}.keras")) for name in names}
    images = data.Images(args.valid, networks.input_shape(badnet), None, input_max)
    suspects.check_count(args.valid, len(images))
    shown, _ = data.spread(images, settings["images"])
    classes = networks.classes(badnet)
    found = search.Search(split(badnet), nets, classes, shown, input_max, settings).find()
    suspects.write(args.pictures, found)
    outputs.write_json(args.metrics, suspects.metrics(found, settings["held"]))


if __name__ == "__main__":
    command.run(main)
