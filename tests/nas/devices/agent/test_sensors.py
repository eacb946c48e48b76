from __future__ import annotations

from pathlib import Path

import pytest

from nas.devices.agent.sensors import Sensors


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


PI = {
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n"
    "processor\t: 3\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t: whatever\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq": "1500000\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "600000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51200\n",
    "sys/class/thermal/thermal_zone1/type": "battery\n",
    "sys/class/thermal/thermal_zone1/temp": "90000\n",
    "sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "Fan\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
}


def test_it_tells_processor_warmth_and_clock_of_the_core_it_times_on(tmp_path: Path) -> None:
    sensors = Sensors([3], written(tmp_path, PI))
    assert sensors.processor() == "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72"
    assert sensors.max_clock_mhz() == 1500
    assert sensors.state() == {"temperature_c": 51.2, "clock_mhz": 600, "throttled": False}
    assert Sensors([0], tmp_path).processor() == "Raspberry Pi 4 Model B Rev 1.4, Cortex-A55"


@pytest.mark.parametrize(
    ("files", "throttled"),
    [
        ({"sys/class/thermal/cooling_device0/cur_state": "2\n"}, True),
        ({"sys/class/thermal/cooling_device0/cur_state": "nonsense\n"}, None),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"}, False),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50004\n"}, True),
    ],
)
def test_it_tells_whether_it_is_slowed_down(
    tmp_path: Path, files: dict[str, str], throttled: bool | None
) -> None:
    assert Sensors([3], written(tmp_path, PI | files)).state()["throttled"] is throttled


def test_what_the_system_does_not_tell_is_none(tmp_path: Path) -> None:
    sensors = Sensors([0], tmp_path)
    assert sensors.processor()
    assert sensors.state() == {"temperature_c": None, "clock_mhz": None, "throttled": None}
    assert (sensors.max_clock_mhz(), sensors.throttle_count()) == (None, 0)
