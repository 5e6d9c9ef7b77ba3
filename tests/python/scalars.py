"""What TensorBoard reads in a run: steps, values and times by name, as JSON.

scalars.py RUN
"""

import json
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as missing:
    print(missing)
    sys.exit(77)

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
json.dump(
    {
        name: [[event.step, event.value, event.wall_time] for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    },
    sys.stdout,
)
