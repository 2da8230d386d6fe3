"""``isthmus schema``: the JSON schema of the objects."""

from isthmus.cli.output import Output, OutputOption, print_json


def schema(output: OutputOption = Output.TEXT) -> None:
    """
    Print the JSON schema of the objects, for editors and pipelines.

    It describes one object of any kind. It is the same with `-o json`.
    """
    from isthmus.api.schema import json_schema  # here, because what validates takes long to load

    del output  # a schema is JSON either way
    print_json(json_schema())
