"""Delivery: what happens to a message between the queue and the end of its task.

unacked      the messages that workers hold, in Redis: taken, renewed, settled, put back
envelope     what a message must look like
message      a message in a worker's hand
held         what this worker works on
qos          what a channel has delivered, over ``unacked``
transport    kombu's Redis transport, with garbage kept away from the worker
consumer     the worker's consumer: parks what cannot be worked on
sent_ahead   what a task's process sends and waits for later
request      tells a crash from a hand-over
results      the result backend
heartbeat    renews what a living worker holds
pool_watch   notices a killed process
liveness notes that the worker takes tasks
rescuer      has lost work rescued
shutdown     SIGTERM: finish, or hand over
"""
