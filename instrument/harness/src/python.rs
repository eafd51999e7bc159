//! The hooks that a Python target runs under: a folder in front of its module path, whose `sitecustomize` waits for
//! frameworks to be imported. The target's own script is not touched; other programs take no notice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What Python takes more module folders from.
pub const PATH_VARIABLE: &str = "PYTHONPATH";

/// Every file of the folder.
const FILES: [(&str, &str); 6] = [
    ("sitecustomize.py", include_str!("../python/sitecustomize.py")),
    ("memloupe_torch.py", include_str!("../python/memloupe_torch.py")),
    (
        "memloupe_torch_compile.py",
        include_str!("../python/memloupe_torch_compile.py"),
    ),
    (
        "memloupe_onnxruntime.py",
        include_str!("../python/memloupe_onnxruntime.py"),
    ),
    (
        "memloupe_openvino.py",
        include_str!("../python/memloupe_openvino.py"),
    ),
    (
        "memloupe/__init__.py",
        include_str!("../../markers/python/src/memloupe/__init__.py"),
    ),
];

/// Writes the hooks below `folder`. The module path to give to the target: theirs before its own.
///
/// # Errors
/// The file that can't be written, and why.
pub fn install(folder: &Path) -> Result<OsString, (PathBuf, io::Error)> {
    let hooks = folder.join("python");
    for (name, text) in FILES {
        let file = hooks.join(name);
        file.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| (file, error))?;
    }
    let mut path = hooks.into_os_string();
    if let Some(own) = std::env::var_os(PATH_VARIABLE).filter(|own| !own.is_empty()) {
        path.push(":");
        path.push(own);
    }
    Ok(path)
}
