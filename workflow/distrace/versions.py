"""The version numbers of the nodes that run a model, and of the nodes above one in the graph.

Raise a node's number by hand when its result changes: then that node, and what is computed from it, runs again. An edit
that changes no result runs nothing again and costs no GPU hours. Nodes below all models carry a digest of their code
instead (`distrace.sources`).
"""

QUESTIONS = 2  # by itself, since the plan and so the report know it

NODE_VERSIONS = {
    "questions": QUESTIONS,
    "model": 1,
    "fresh": 1,
    "rollouts": 1,
    "imported_rollouts": 2,
    "sentences": 1,
    "logprobs": 1,
    "ranking": 1,
    "selection": 2,
    "finetune": 1,
}
