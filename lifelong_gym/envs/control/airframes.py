"""Published quadrotors, as parameters of `Quadrotor3D`."""

from __future__ import annotations

import math

RPM = 2.0 * math.pi / 60.0  # rad/s; thrust and torque per squared revolutions a minute become those per (rad/s)^2

# Crazyflie 2.x. Mass, arm, inertias, propellers, thrust, torque, drag and ground effect: cf2x.urdf of
# gym-pybullet-drones (Panerati et al., 2021), which takes them from Luis and Le Ny (2016), Landry (2015), Foerster
# (2015) and Shi et al. (2019). Rotors 1 to 4 are that file's prop0 to prop3.
CRAZYFLIE = {
    "mass": 0.027,
    "arm_length": 0.0397,
    "mount_angle": -0.25 * math.pi,
    "inertia_x": 1.4e-5,
    "inertia_y": 1.4e-5,
    "inertia_z": 2.17e-5,
    "thrust_coefficient": 3.16e-10 / RPM**2,
    "drag_coefficient": 7.94e-12 / RPM**2,
    "propeller_radius": 0.0231348,
    "air_drag_xy": 9.1785e-7,
    "air_drag_z": 10.311e-7,
    "ground_effect": 11.36859,
}
# Foerster (2015), from command to thrust: a pole of 0.9695404 at 500 Hz, 2 ms / -ln(0.9695404).
CRAZYFLIE_LAG = 0.0647

# AscTec Hummingbird and Pelican: hummingbird.xacro and pelican.xacro of RotorS (Furrer et al., 2016); masses with the
# four rotors', torque by ``moment_constant``, the lag is ``time_constant_up``. RotorS has no ground effect: theirs is
# that of one rotor by the method of images (Cheeseman and Bennett, 1955), to first order.
HUMMINGBIRD = {
    "mass": 0.68 + 4 * 0.009,
    "arm_length": 0.17,
    "mount_angle": 0.0,
    "inertia_x": 0.007,
    "inertia_y": 0.007,
    "inertia_z": 0.012,
    "thrust_coefficient": 8.54858e-6,
    "drag_coefficient": 0.016 * 8.54858e-6,
    "propeller_radius": 0.1,
    "air_drag_xy": 8.06428e-5,
    "air_drag_z": 0.0,
    "ground_effect": 1.0,
    "rotor_time_constant": 0.0125,
}
PELICAN = {
    **HUMMINGBIRD,
    "mass": 1.0 + 4 * 0.01,
    "arm_length": 0.21,
    "inertia_x": 0.01,
    "inertia_y": 0.01,
    "inertia_z": 0.02,
    "thrust_coefficient": 9.9865e-6,
    "drag_coefficient": 0.016 * 9.9865e-6,
    "propeller_radius": 0.128,
}
