"""The whole graph: one process or many, with a player, a demo and launch files."""

from wm_core.moved import moved

moved(
    {
        "wm_bringup.bags": "wm_core.bags",
        "wm_bringup.demo": "wm_demo.demo",
        "wm_bringup.player": "bag_player.node",
    }
)
