import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # miniature.py serves tests in every folder
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
