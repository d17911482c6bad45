"""Fine-tuning: texts become examples on disk (`examples.py`), of which a model learns (`trainer.py`).

`launch.py` and `process.py` do it in several processes; `shown.py` writes what is learnt for people to read.
"""
