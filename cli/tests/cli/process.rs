//! The program among others: its outputs' modes, its devices, its standard output, signals and limits.

use super::*;

/// A reader that leaves early does no harm.
#[test]
fn a_closed_standard_output_is_no_panic() {
    let t: PathBuf = shared().directory.path().to_owned();
    let mut child = Command::new(env!("CARGO_BIN_EXE_blindvox"))
        .args(["plain", "-m", ".", "-i"])
        .arg(&shared().volumes[0])
        .current_dir(t)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn the_program_names_itself() {
    let t = scratch();
    assert_eq!(text(&run_in(t.path(), &["--version"]).stdout).trim(), concat!("blindvox ", env!("CARGO_PKG_VERSION")));
    let help = text(&run_in(t.path(), &["--help"]).stdout);
    assert!(help.lines().next().is_some_and(|l| l.starts_with("blindvox: ") && l.contains("segment")), "{help}");
}

// Devices.

#[test]
fn adapters_are_chosen_by_name() {
    let t = copy();
    let t = t.path();
    refused(t, &segment(t, &["--adapter", "x"]), 2, &["--adapter x", "--backend cpu", "--backend gpu"]);
    let there = blindvox_engine::gpu::adapters();
    let Some(usable) = there.iter().find(|a| a.unusable.is_none()) else {
        assert!(std::env::var_os("CI").is_none() || !GPUS, "CI must have a usable Vulkan adapter");
        return eprintln!("SKIPPED: no usable Vulkan adapter");
    };
    let none = ["--backend", "gpu", "--adapter", "no such card"];
    refused(t, &segment(t, &none), 2, &["--adapter no such card", &usable.name]);
    let doctor = run_in(t, &["doctor", "--adapter", "no such card"]);
    assert_eq!(doctor.status.code(), Some(2), "{}", text(&doctor.stderr));
    let name = &usable.name[..usable.name.len() / 2].to_uppercase();
    let output = segment(t, &["--backend", "gpu", "--adapter", name, "-o", "map.nii"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // A software device is announced, in one line and before the run.
    let said = text(&output.stderr);
    let doctor = text(&run_in(t, &["doctor", "--adapter", name]).stdout);
    assert!(doctor.contains(&format!("backend gpu : usable, {}", usable.name)), "{doctor}");
    if usable.software {
        assert!(said.starts_with(&format!("warning: {} is a software device", usable.name)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(doctor.contains(&format!("warning : {} is a software device", usable.name)), "{doctor}");
        let quiet = segment(t, &["--backend", "gpu", "--adapter", name, "-o", "map.nii", "-q"]);
        assert!(quiet.status.success() && quiet.stderr.is_empty(), "{}", text(&quiet.stderr));
    } else {
        assert!(said.is_empty(), "{said}");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn a_broken_driver_file_is_named() {
    let t = copy();
    let t = t.path();
    let nonsense = t.join("driver.json");
    std::fs::write(&nonsense, "nonsense").expect("a write");
    let args = ["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz", "--backend", "gpu"];
    for (file, cause) in [(nonsense, "not JSON"), (t.join("absent.json"), "No such file")] {
        let run = |args: &[&str]| {
            let mut program = program(t, args);
            program.env_remove("VK_ICD_FILENAMES").env("VK_DRIVER_FILES", &file).output().expect("the program starts")
        };
        let named = format!("broken driver file: VK_DRIVER_FILES names {}: {cause}", file.display());
        let (refusal, doctor) = (run(&args), text(&run(&["doctor"]).stdout));
        if text(&refusal.stderr).contains("no Vulkan loader") {
            assert!(std::env::var_os("CI").is_none(), "CI must have a Vulkan loader");
            return eprintln!("SKIPPED: no Vulkan loader");
        }
        refused(t, &refusal, 1, &["device: ", &named]);
        assert!(doctor.contains(&format!("backend gpu : not usable, device: {named}")), "{doctor}");
    }
}

// Files.

#[cfg(unix)]
#[test]
fn outputs_are_private_and_an_older_file_keeps_its_mode() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let t = copy();
    let t = t.path();
    let mode = |name: &str| t.join(name).metadata().expect("a file").permissions().mode() & 0o777;
    let args = ["-o", "map.nii.gz", "--report", "r.json", "--preview", "p.png", "-q"];
    let files = ["map.nii.gz", "r.json", "p.png"];
    assert!(segment(t, &args).status.success());
    assert_eq!(files.map(mode), [0o600; 3]);
    for name in files {
        std::fs::set_permissions(t.join(name), PermissionsExt::from_mode(0o640)).expect("a mode");
    }
    assert!(segment(t, &args).status.success());
    assert_eq!(files.map(mode), [0o640; 3]);
    // A link is replaced, not what it leads to.
    std::fs::write(t.join("another"), b"kept").expect("a write");
    symlink("another", t.join("link.nii.gz")).expect("a link");
    assert!(segment(t, &["-o", "link.nii.gz", "-q"]).status.success());
    assert!(!t.join("link.nii.gz").is_symlink() && mode("link.nii.gz") == 0o600);
    assert_eq!(std::fs::read(t.join("another")).expect("a file"), b"kept");
}

/// What `/dev/full` stands for, and what is left of outputs then: nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_one_error_and_no_output() {
    let t = copy();
    let t = t.path();
    let usual = ["-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz"];
    for command in [&[&["segment", "--report", "out.json"], &usual[..]].concat(), &[&["plain"], &usual[..]].concat()] {
        let full = std::fs::File::create("/dev/full").expect("the device");
        let output = program(t, command).stdout(full).output().expect("the program starts");
        refused(t, &output, 1, &["standard output", "No space left"]);
    }
    for command in [&["doctor"][..], &["--help"], &["calibrate", "-m", ".", "scan.nii.gz"]] {
        let model = std::fs::read(t.join(MODEL_FILE)).expect("a model");
        let full = std::fs::File::create("/dev/full").expect("the device");
        let output = program(t, command).stdout(full).output().expect("the program starts");
        refused(t, &output, 1, &["standard output", "No space left"]);
        assert_eq!(std::fs::read(t.join(MODEL_FILE)).expect("a model"), model);
    }
    refused(t, &segment(t, &["--report", "/dev/full", "-q"]), 1, &["/dev/full", "No space left"]);
}

/// The demo's folder is not left behind by a run that fails.
#[cfg(target_os = "linux")]
#[test]
fn the_demo_leaves_no_folder_where_it_fails() {
    let t = scratch();
    let full = std::fs::File::create("/dev/full").expect("the device");
    let output = program(t.path(), &[]).stdout(full).output().expect("the program starts");
    refused(t.path(), &output, 1, &["standard output", "No space left"]);
}

// The process.

/// A run that waits for its model: everything is set up, nothing written.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    for signal in ["INT", "TERM", "KILL"] {
        let t = copy();
        let t = t.path();
        std::fs::remove_file(t.join(MODEL_FILE)).expect("a file");
        let made = Command::new("mkfifo").arg(t.join(MODEL_FILE)).status().expect("mkfifo");
        assert!(made.success());
        let mut run = program(t, &["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz"]);
        let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let run = run.spawn().expect("the program starts");
        // Opens as soon as the program has come to read it.
        let model = std::fs::OpenOptions::new().write(true).open(t.join(MODEL_FILE)).expect("a pipe");
        let sent = Command::new("kill").args([format!("-{signal}"), run.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        let output = run.wait_with_output().expect("an end");
        drop(model);
        assert_eq!(output.status.code(), if signal == "KILL" { None } else { Some(130) }, "{signal}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        let mut left: Vec<_> =
            std::fs::read_dir(t).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, [MODEL_FILE, "scan.nii.gz", WEIGHTS_FILE]);
    }
}

/// Where the system allows few threads or none beside the first, the run does with fewer or says so.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_processes_is_no_panic() {
    use std::os::unix::fs::PermissionsExt;

    let id = Command::new("id").arg("-u").output().expect("id");
    if text(&id.stdout).trim() != "0" || Command::new("setpriv").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: only root can become a user without other processes");
    }
    let t = copy();
    let t = t.path();
    for (path, mode) in [(t.to_owned(), 0o777), (t.join("scan.nii.gz"), 0o644)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    }
    let usable = t.join("blindvox");
    std::fs::copy(env!("CARGO_BIN_EXE_blindvox"), &usable).expect("a copy");
    let segment = ["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz", "-q"];
    for (limit, args, code) in [
        (1, &["plain", "-m", ".", "-i", "scan.nii.gz"][..], 0),
        (1, &segment, 1),
        (3, &segment, 0),
        (1, &["doctor"], 0),
    ] {
        let user = ["--reuid", "65531", "--regid", "65531", "--clear-groups", "prlimit"];
        let mut limited = Command::new("setpriv");
        limited.args(user).arg(format!("--nproc={limit}")).arg(&usable).args(args);
        let output = limited.current_dir(t).env("XDG_RUNTIME_DIR", t).output().expect("setpriv");
        if code == 0 {
            // A graphics driver may complain of the user's surroundings.
            let said = text(&output.stderr);
            assert!(output.status.success() && !said.contains("panicked"), "{args:?}: {said}");
            let _ = std::fs::remove_file(t.join("out.nii.gz"));
        } else {
            refused(t, &output, code, &["the system refused a thread"]);
        }
    }
}
