"""Data sets in BOP's layout: reading, writing, scoring, and whole runs over them."""

from ._dataset import Dataset as Dataset
from ._detections import Detection as Detection
from ._detections import read_detections as read_detections
from ._detections import write_detections as write_detections
from ._estimates import Estimate as Estimate
from ._estimates import parse_result_name as parse_result_name
from ._estimates import read_estimates as read_estimates
from ._estimates import write_estimates as write_estimates
from ._frame import Frame as Frame
from ._frame import Instance as Instance
from ._make import Offset as Offset
from ._make import builtin_meshes as builtin_meshes
from ._make import make_dataset as make_dataset
from ._models import Models as Models
from ._models import ObjectModel as ObjectModel
from ._ray_engine import RayEngine as RayEngine
from ._refiner import Settings as Settings
from ._run import Engine as Engine
from ._run import LocalEngine as LocalEngine
from ._run import Run as Run
from ._run import refine_dataset as refine_dataset
from ._scores import Scores as Scores
from ._scores import evaluate as evaluate
from ._targets import Target as Target
from ._write import View as View
from ._write import write_dataset as write_dataset
