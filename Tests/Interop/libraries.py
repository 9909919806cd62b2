"""Imports the libraries once, offline and quietly. Import this before transformers."""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
warnings.filterwarnings("ignore")

FIXTURES = Path(__file__).resolve().parent.parent / "Fixtures"
sys.path += [str(FIXTURES), str(FIXTURES / "models")]

import torchvision_shim

# A torchvision whose compiled operators do not fit torch would break transformers too.
torchvision_shim.load()

import torch
import transformers

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(1)
