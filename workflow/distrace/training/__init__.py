"""Fine-tuning: texts become examples on disk (`examples.py`), of which a model learns (`trainer.py`)."""
