//! The machines that memloupe carries.

/// A machine by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What `--machine` takes.
    pub name: &'static str,
    /// Its machine file.
    pub toml: &'static str,
}

/// The preset that describes the computer it runs on.
pub(crate) const HOST: &str = "host";

/// Every preset; adding one is adding a file and a line here.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: HOST,
        toml: include_str!("../machines/host.toml"),
    },
    Preset {
        name: "desktop",
        toml: include_str!("../machines/desktop.toml"),
    },
    Preset {
        name: "ice-lake-sp",
        toml: include_str!("../machines/ice-lake-sp.toml"),
    },
    Preset {
        name: "embedded",
        toml: include_str!("../machines/embedded.toml"),
    },
    Preset {
        name: "sapphire-rapids",
        toml: include_str!("../machines/sapphire-rapids.toml"),
    },
    Preset {
        name: "sapphire-rapids-hbm",
        toml: include_str!("../machines/sapphire-rapids-hbm.toml"),
    },
    Preset {
        name: "zen4-server",
        toml: include_str!("../machines/zen4-server.toml"),
    },
    Preset {
        name: "zen5-server",
        toml: include_str!("../machines/zen5-server.toml"),
    },
    Preset {
        name: "neoverse-v2",
        toml: include_str!("../machines/neoverse-v2.toml"),
    },
    Preset {
        name: "apple-m1",
        toml: include_str!("../machines/apple-m1.toml"),
    },
    Preset {
        name: "hbm3-accelerator",
        toml: include_str!("../machines/hbm3-accelerator.toml"),
    },
    Preset {
        name: "cxl-server",
        toml: include_str!("../machines/cxl-server.toml"),
    },
    Preset {
        name: "flash-accelerator",
        toml: include_str!("../machines/flash-accelerator.toml"),
    },
    Preset {
        name: "mram-embedded",
        toml: include_str!("../machines/mram-embedded.toml"),
    },
    Preset {
        name: "damov-host",
        toml: include_str!("../machines/damov-host.toml"),
    },
    Preset {
        name: "thesis-host",
        toml: include_str!("../machines/thesis-host.toml"),
    },
];
