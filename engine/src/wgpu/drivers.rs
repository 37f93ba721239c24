//! Why no card can be found: the Vulkan loader, the driver files it reads, and the libraries that they name.
//!
//! Where the files lie and which variables replace them:
//! <https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md>.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use libloading::Library;
use serde_json::Value;

/// The loader's library, by the name that it is opened by.
const LOADER: &str = if cfg!(windows) {
    "vulkan-1.dll"
} else if cfg!(target_vendor = "apple") {
    "libvulkan.dylib"
} else {
    "libvulkan.so.1"
};

/// A driver file, and what is wrong with it.
struct DriverFile {
    path: PathBuf,
    /// The variable that names it.
    variable: Option<&'static str>,
    fault: Option<String>,
}

/// What the loader finds.
pub(super) struct Drivers {
    loader: bool,
    files: Vec<DriverFile>,
    /// Folders that were searched.
    folders: Vec<PathBuf>,
}

impl Drivers {
    /// Of this system.
    pub(super) fn find() -> Self {
        Self::find_by(|name| std::env::var_os(name), loads(LOADER.as_ref()).is_ok())
    }

    fn find_by(variable: impl Fn(&str) -> Option<OsString>, loader: bool) -> Self {
        let variable = |name: &'static str| variable(name).filter(|v| !v.is_empty()).map(|v| (name, v));
        let replaced = variable("VK_DRIVER_FILES").or_else(|| variable("VK_ICD_FILENAMES"));
        let folders = if replaced.is_some() { Vec::new() } else { folders(&variable) };
        let mut paths: Vec<(PathBuf, Option<&'static str>)> =
            folders.iter().flat_map(|folder| manifests(folder)).map(|path| (path, None)).collect();
        for (name, value) in replaced.into_iter().chain(variable("VK_ADD_DRIVER_FILES")) {
            for path in std::env::split_paths(&value).filter(|p| !p.as_os_str().is_empty()) {
                let within = if path.is_dir() { manifests(&path) } else { vec![path] };
                paths.extend(within.into_iter().map(|path| (path, Some(name))));
            }
        }
        let files =
            paths.into_iter().map(|(path, variable)| DriverFile { fault: fault(&path), path, variable }).collect();
        Self { loader, files, folders }
    }

    /// Why no adapter was found, in one line with what to do.
    pub(super) fn why_none(&self) -> String {
        if !self.loader {
            return format!(
                "no Vulkan loader: {LOADER} was not found; install it (Debian and Ubuntu: libvulkan1, Fedora: \
                 vulkan-loader) or use the CPU"
            );
        }
        let (broken, whole): (Vec<_>, Vec<_>) = self.files.iter().partition(|f| f.fault.is_some());
        let faults = list(broken.iter().map(|f| f.describe()));
        match (whole.is_empty(), broken.is_empty()) {
            (true, true) => format!(
                "no Vulkan driver: no driver file lies in {}; install the card's driver (Debian and Ubuntu: \
                 mesa-vulkan-drivers, or the maker's own) or use the CPU",
                list(self.folders.iter().map(|f| f.display().to_string()))
            ),
            (true, false) => format!("broken driver file: {faults}; mend it or use the CPU"),
            (false, none_broken) => {
                let besides = if none_broken { String::new() } else { format!("; broken driver file: {faults}") };
                format!(
                    "no card: the drivers of {} found no device that this user may open (on Linux: /dev/dri, \
                     /dev/nvidia*){besides}; make one available or use the CPU",
                    list(whole.iter().map(|f| f.name()))
                )
            }
        }
    }

    /// Why no adapter but a software device was found, in a few words.
    pub(super) fn why_software_only(&self) -> String {
        let (broken, whole): (Vec<_>, Vec<_>) = self.files.iter().partition(|f| f.fault.is_some());
        let found = format!("the drivers of {} found no card", list(whole.iter().map(|f| f.name())));
        match broken.is_empty() {
            true => found,
            false => format!("{found}; broken driver file: {}", list(broken.iter().map(|f| f.describe()))),
        }
    }
}

impl DriverFile {
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn describe(&self) -> String {
        let by = self.variable.map(|name| format!("{name} names ")).unwrap_or_default();
        format!("{by}{}: {}", self.path.display(), self.fault.as_deref().unwrap_or("whole"))
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// The folders that the loader searches for driver files, most specific first.
fn folders(variable: &impl Fn(&'static str) -> Option<(&'static str, OsString)>) -> Vec<PathBuf> {
    let get = |name| variable(name).map(|(_, value)| value);
    let home = |rest: &str| get("HOME").map(|home| Path::new(&home).join(rest).into_os_string());
    let roots = [
        get("XDG_CONFIG_HOME").or_else(|| home(".config")),
        Some(get("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into())),
        Some("/etc".into()),
        get("XDG_DATA_HOME").or_else(|| home(".local/share")),
        Some(get("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into())),
    ];
    let split = |value: OsString| std::env::split_paths(&value).collect::<Vec<_>>();
    roots.into_iter().flatten().flat_map(split).map(|root| root.join("vulkan/icd.d")).collect()
}

/// The driver files of a folder, by name.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<_> = entries.filter(|p| p.extension() == Some("json".as_ref())).collect();
    files.sort();
    files
}

/// What is wrong with a driver file, if anything.
fn fault(path: &Path) -> Option<String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) => return Some(e.to_string()),
    };
    let json: Value = match serde_json::from_slice(&text) {
        Ok(json) => json,
        Err(e) => return Some(format!("not JSON: {e}")),
    };
    let Some(named) = json["ICD"]["library_path"].as_str() else {
        return Some("it names no library (ICD, library_path)".to_owned());
    };
    // A name alone is searched for by the system; a relative path starts at the driver file.
    let library = match named.contains(['/', '\\']) {
        true => path.parent().unwrap_or(Path::new(".")).join(named).into_os_string(),
        false => named.into(),
    };
    loads(&library).err().map(|e| format!("its library {named} can't be loaded: {e}"))
}

/// Whether the system can load a library.
fn loads(library: &OsStr) -> Result<(), String> {
    // SAFETY: the loader and the drivers that its files name are what opening an adapter loads too; their initialisers
    // are made to run in any process. No symbol of them is used here.
    let loaded = unsafe { Library::new(library) };
    loaded.map(drop).map_err(|e| {
        let source = std::error::Error::source(&e).map(ToString::to_string);
        source.unwrap_or_else(|| e.to_string()).split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one driver file of this content, as the only root of driver files.
    fn with(content: Option<&str>) -> (tempfile::TempDir, Drivers) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("vulkan/icd.d");
        std::fs::create_dir_all(&folder).unwrap();
        if let Some(content) = content {
            std::fs::write(folder.join("some_icd.json"), content).unwrap();
        }
        let value = root.path().as_os_str().to_owned();
        let variable = |name: &str| match name {
            "XDG_DATA_DIRS" => Some(value.clone()),
            "XDG_CONFIG_DIRS" | "XDG_CONFIG_HOME" | "XDG_DATA_HOME" => Some("/nowhere".into()),
            _ => None,
        };
        let mut found = Drivers::find_by(variable, true);
        // Not those of the machine that runs the test.
        found.files.retain(|f| f.path.starts_with(root.path()));
        (root, found)
    }

    #[test]
    fn each_cause_is_told_apart_in_one_line() {
        let nothing = Drivers::find_by(|_| None, false).why_none();
        assert!(nothing.starts_with("no Vulkan loader") && nothing.contains("install"), "{nothing}");
        let (root, none) = with(None);
        let none = none.why_none();
        assert!(none.starts_with("no Vulkan driver") && none.contains(&*root.path().to_string_lossy()), "{none}");
        for (content, cause) in [
            ("{", "not JSON"),
            ("{}", "names no library"),
            (r#"{"ICD": {"library_path": "libno_such_driver.so"}}"#, "libno_such_driver.so can't be loaded"),
            (r#"{"ICD": {"library_path": "./here.so"}}"#, "./here.so can't be loaded"),
        ] {
            let broken = with(Some(content)).1.why_none();
            assert!(broken.starts_with("broken driver file") && broken.contains(cause), "{broken}");
            assert_eq!(broken.lines().count(), 1);
        }
    }

    #[test]
    fn files_that_a_variable_names_are_told_with_it() {
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            let variable = |asked: &str| (asked == name).then(|| "/nowhere/at_all.json".into());
            let told = Drivers::find_by(variable, true).why_none();
            assert!(told.contains(&format!("{name} names /nowhere/at_all.json: No such file")), "{told}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whole_drivers_without_a_card_are_named() {
        let told = with(Some(r#"{"ICD": {"library_path": "libc.so.6"}}"#)).1;
        assert!(told.why_none().starts_with("no card: the drivers of some_icd.json"), "{}", told.why_none());
        assert_eq!(told.why_software_only(), "the drivers of some_icd.json found no card");
    }
}
