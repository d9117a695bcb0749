"""Prints what TensorBoard itself reads from a folder of event files: one line per scalar and histogram bin.

Exit code 77: TensorBoard is not installed for this Python.
"""
import sys

try:
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util
except ImportError as error:
    print(error)
    sys.exit(77)

events = EventAccumulator(sys.argv[1], tensor_size_guidance={"scalars": 0, "histograms": 0})
events.Reload()
for tag in sorted(events.Tags()["tensors"]):
    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    for event in events.Tensors(tag):
        value = tensor_util.make_ndarray(event.tensor_proto)
        if plugin == "scalars":
            print(f"{plugin}|{tag}|{event.step}|{float(value)!r}")
        else:
            for left, right, count in value.tolist():
                print(f"{plugin}|{tag}|{event.step}|{left}|{right}|{count}")
