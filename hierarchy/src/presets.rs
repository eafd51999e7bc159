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
];
