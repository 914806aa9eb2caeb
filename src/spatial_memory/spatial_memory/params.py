"""Everything that may differ between two deployments of this node."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from spatial_memory.geometry.maps import DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG
from spatial_memory.model import ModelSettings
from spatial_memory.settings import MemorySettings
from spatial_memory.store.files import IN_MEMORY
from wm_core.memory.joining import JOIN_S
from wm_core.memory.keyframes import (
    SESSION_GAP_S,
    SPACING_ANGLE_RAD,
    SPACING_TIME_S,
    Spacing,
)
from wm_core.memory.scale import Scale
from wm_ros import TRANSPORTS, ManagedParams, param


@dataclass(frozen=True, kw_only=True)
class SpatialMemoryParams(ManagedParams):
    """Parameters of ``spatial_memory``."""

    db_path: str = param("", "SQLite file, or the name of one in ~/.ros/world_model/NAMESPACE (or ROS_HOME); "
                         "empty: memory, or replay under use_sim_time; :memory: keeps nothing.")  # fmt: skip
    on_corrupt: str = param("refuse", "A damaged file: refuse to start, or recover what can be read.",
                            choices=("refuse", "recover"))  # fmt: skip
    backend: str = param("embedded", "Where memories are searched: in this process, compiled (embedded) or by Faiss "
                         "(faiss), or on a server (qdrant).", choices=("embedded", "faiss", "qdrant"))  # fmt: skip
    qdrant_host: str = param("localhost", "Qdrant server.", env="QDRANT_HOST")
    qdrant_port: int = param(6333, "Port of the Qdrant server.", low=1, high=65535, env="QDRANT_PORT")
    qdrant_api_key: str = param("", "API key of the Qdrant server; empty: none.", env="QDRANT_API_KEY")
    qdrant_tls: bool = param(False, "Talk to the Qdrant server over TLS.")
    qdrant_collection: str = param("world_model_memory", "Collection that robots share.")
    robot_id: str = param("", "Name of this robot; sessions begin with it. Empty: the namespace, or robot.")

    capacity: int = param(1_000_000, "Most memories held; beyond it the least worth is forgotten.", low=1,
                          high=100_000_000)  # fmt: skip
    allow_shrink: bool = param(False, "Forget at start, for good, what the file holds beyond capacity; false: refuse.")
    allow_destructive: bool = param(False, "Whether peers may have memories forgotten: the services clear and delete.")
    allow_restore: bool = param(False, "Whether peers may have memories replaced by a snapshot: the service restore.")
    snapshot_dir: str = param("", "Folder of the snapshots that peers name; empty: snapshots beside the file, or under "
                              "~/.ros/world_model/NAMESPACE where that is :memory:.")  # fmt: skip
    snapshot_limit: int = param(100, "Most snapshots in snapshot_dir; then only those are written over.",
                                low=1, high=100_000)  # fmt: skip
    model_path: str = param("", "Artifact that says whose latents come in: folder, artifact://NAME, or a file in one; "
                            "empty: the first record decides.", env="WM_CHECKPOINT_PATH")  # fmt: skip
    surprise_weight: float = param(1.0, "How much surprise counts against recency in eviction.", low=0.0,
                                   high=100.0)  # fmt: skip
    map: str = param("local", "What x and y are: metres in a local map, or wgs84 longitude and latitude [deg].",
                     choices=("local", "wgs84"))  # fmt: skip
    datum_lat: float = param(DEFAULT_DATUM_LAT, "Latitude of a local map's origin [deg].", low=-85.0, high=85.0)
    datum_lng: float = param(DEFAULT_DATUM_LNG, "Longitude of a local map's origin [deg].", low=-180.0, high=180.0)
    usual_radius_m: float = param(2.0, "Radius that most queries ask for [m]; sets the cell size.", low=0.01,
                                  high=100_000.0)  # fmt: skip
    h3_resolution: int = param(-1, "H3 resolution; -1: from usual_radius_m.", low=-1, high=15)

    store_distance_m: float = param(-1.0, "A state is stored after moving this far [m]; -1: as speed and extent of "
                                    "what was seen suggest, 0.1 until they are known ...", low=-1.0, high=1000.0,
                                    runtime=True)  # fmt: skip
    store_angle_deg: float = param(math.degrees(SPACING_ANGLE_RAD), "... or turning this much [deg] ...", low=0.0,
                                   high=180.0, runtime=True)  # fmt: skip
    store_time_s: float = param(SPACING_TIME_S, "... or after this time [s].", low=0.0, high=3600.0, runtime=True)
    revisit_radius_m: float = param(-1.0, "Memories as near as this, and within 30 degrees of rotation, are of one "
                                    "place [m]; -1: as speed and extent of what was seen suggest, 1 until they are "
                                    "known.",
                                    low=-1.0, high=1000.0, runtime=True)  # fmt: skip
    profile: str = param("", "Folder of this robot's profile, or the name of one in ~/.ros/world_model/NAMESPACE (or "
                         "ROS_HOME): the scale of its world is kept there; empty: nothing is kept.",
                         env="WM_PROFILE")  # fmt: skip
    step_s: float = param(0.0, "Step that the states' model must have [s]; 0: any, the states say which.", low=0.0,
                          high=10.0)  # fmt: skip
    horizon_s: float = param(0.0, "Time to the furthest successor [s], in place of the model's own horizons; 0: the "
                             "model's.", low=0.0, high=60.0)  # fmt: skip
    session_gap_s: float = param(SESSION_GAP_S, "A silence longer than this starts a new session [s].", low=0.1,
                                 high=86400.0)  # fmt: skip
    pose_join_s: float = param(JOIN_S, "Longest that a state waits for its measured pose; then it is not kept [s].",
                               low=0.0, high=60.0)  # fmt: skip
    commit_every_s: float = param(0.2, "Longest time a state waits before it is written to disk [s].", low=0.01,
                                  high=10.0)  # fmt: skip

    store_thumbnails: bool = param(False, "Whether a small picture (64x64 JPEG, about 2 kB) is kept with each memory; "
                                   "then the camera is listened to.")  # fmt: skip
    thumbnail_limit: int = param(100_000, "Most pictures kept, those of the newest memories.", low=1,
                                 high=100_000_000)  # fmt: skip
    image_transport: str = param("auto", "How the camera's pictures come, as in latent_publisher.",
                                 choices=TRANSPORTS)  # fmt: skip

    top_k: int = param(0, "Memories per query that names no k; 0: as the states' model was trained, or 8.", low=0,
                       high=4096, env="TOPK")  # fmt: skip
    yaw_weight_m: float = param(1.0, "Metres that 1 rad of yaw counts in the pose distance, where a query names none.",
                                low=0.0, high=1000.0, alias="heading_weight_m")  # fmt: skip
    pose_weight: float = param(1.0, "Weight of pose distance^2 against latent distance^2, where a query names none.",
                               low=0.0, high=1e6)  # fmt: skip
    marker_color: str = param("count", "What the colour of a cell says: how many memories it holds (count), or how old "
                              "the newest of them is (age).", choices=("count", "age"), runtime=True)  # fmt: skip
    marker_rate: float = param(1.0, "Markers per second [Hz], while somebody listens; 0: never.", low=0.0, high=20.0,
                               runtime=True)  # fmt: skip

    def path(self, namespace: str = "", is_simulated: bool = False) -> str:
        """Return the file that holds the memory of a robot; two robots on a machine have two.

        Args:
            namespace: The robot's.
            is_simulated: Whether time is: what a player or simulator sends has a file of its own, unless one is named.
        """
        name = self.db_path or ("replay" if is_simulated else "memory")
        if name == IN_MEMORY or "/" in name or Path(name).suffix:
            return name
        home = os.environ.get("ROS_HOME") or str(Path.home() / ".ros")
        return str(Path(home) / "world_model" / namespace.strip("/") / f"{name}.sqlite3")

    def snapshots(self, namespace: str = "", is_simulated: bool = False) -> Path:
        """Return the folder of a robot's snapshots."""
        if self.snapshot_dir:
            return Path(self.snapshot_dir)
        path = self.path(namespace, is_simulated)
        home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "world_model" / namespace.strip("/")
        return (home if path == IN_MEMORY else Path(path).parent) / "snapshots"

    def spacing(self, scale: Scale | None = None) -> Spacing:
        """Return when a state is stored, in a world of some scale; what the user set wins."""
        scale = scale or Scale()
        return scale.spacing(self.store_distance_m, math.radians(self.store_angle_deg), self.store_time_s)

    def same_place_m(self, scale: Scale) -> float:
        """Return how near memories of one place lie [m], in a world of some scale; what the user set wins."""
        return scale.revisit_radius_m if self.revisit_radius_m < 0 else self.revisit_radius_m

    def robot_name(self, namespace: str = "") -> str:
        """Return the name that this robot's sessions begin with."""
        return self.robot_id or namespace.strip("/") or "robot"

    def model_settings(self) -> ModelSettings:
        """Return what the parameters say of the model."""
        return ModelSettings(self.step_s, self.horizon_s, self.top_k)

    def memory_settings(self, namespace: str = "", is_simulated: bool = False) -> MemorySettings:
        """Return the parameters that the memory itself has to know."""
        own: dict[str, Any] = {
            "path": self.path(namespace, is_simulated),
            "robot_id": self.robot_name(namespace),
        }
        names = [field.name for field in fields(MemorySettings) if field.name not in own]
        return MemorySettings(**own, **{name: getattr(self, name) for name in names})
