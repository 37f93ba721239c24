//! `ckks public | keys | encrypt | evaluate | decrypt`: a run by files, without a connection.

use std::io::Write;
use std::path::{Path, PathBuf};

use blindvox_engine::{Device, Prng};
use blindvox_models::Bundle;
use blindvox_models::atomic::{self, Staged};
use blindvox_models::data::npy::Array;
use blindvox_protocols::infer::slots::files::{self, Kind, SecretBytes};
use blindvox_protocols::infer::slots::service::evaluate;
use blindvox_protocols::infer::slots::{Client, ClientKeys, KeySet, Model, Public, Source};
use blindvox_protocols::{Error, Result};

use crate::args_slots::{CkksCommand, CkksDecrypt, CkksEncrypt, CkksEvaluate, CkksKeys, CkksPreset, CkksPublic};
use crate::input::Done;
use crate::ui::files::check_outputs;
use crate::ui::screen;

/// The `ckks` commands.
pub(crate) fn run(command: &CkksCommand) -> Result<Done> {
    match command {
        CkksCommand::Public(args) => public(args)?,
        CkksCommand::Keys(args) => keys(args)?,
        CkksCommand::Encrypt(args) => encrypt(args)?,
        CkksCommand::Evaluate(args) => evaluated(args)?,
        CkksCommand::Decrypt(args) => decrypt(args)?,
    }
    screen::check()?;
    Ok(Done::Whole)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged: Staged = atomic::stage(path, |out| out.write_all(bytes))?;
    Ok(atomic::commit_all(vec![staged])?)
}

fn model(folder: &Path, preset: CkksPreset) -> Result<Model> {
    let bundle = Bundle::load(folder)?;
    let Some(ckks) = &bundle.ckks else {
        let shown = folder.display();
        return Err(Error::Input(format!("{shown}: found no ckks section in model.json, expected one")));
    };
    let (network, clamp) = (bundle.network()?, bundle.preparation.clamp);
    let source = Source { name: &bundle.name, classes: &bundle.classes, network: &network, ckks, clamp };
    Model::new(&source, preset.name())
}

/// A model's public part and its digest.
fn known(path: &Path) -> Result<(Public, [u8; 32])> {
    let bytes = read(path)?;
    let name = path.display().to_string();
    let parts = files::read(&name, Kind::Public, None, &bytes)?;
    let public = parts.first().ok_or_else(|| Error::Input(format!("{name}: found nothing in it")))?;
    let public = Public::from_bytes(public).map_err(|e| Error::Input(format!("{name}: {e}")))?;
    let digest = public.digest()?;
    Ok((public, digest))
}

fn public(args: &CkksPublic) -> Result<()> {
    check_outputs(&[], &[("--output", &args.output)])?;
    let model = model(&args.model, args.preset)?;
    let (bytes, digest) = (model.public().to_bytes()?, model.public().digest()?);
    write(&args.output, &files::write(Kind::Public, &digest, &[&bytes]))?;
    say!("Wrote {}: what clients must know of {}, no weights.", args.output.display(), model.public().name);
    Ok(())
}

fn keys(args: &CkksKeys) -> Result<()> {
    check_outputs(&[("--public", &args.public)], &[("--secret", &args.secret), ("--output", &args.output)])?;
    let (public, digest) = known(&args.public)?;
    let mut prng = Prng::from_os()?;
    let client = Client::new(public, &Device::cpu(), &mut prng)?;
    let set = client.keys(&mut prng)?;
    let secret = client.secret_bytes();
    let secret = SecretBytes::new(files::write(Kind::Secret, &digest, &[&secret]));
    write_secret(&args.secret, &secret)?;
    write(&args.output, &files::write(Kind::Keys, &digest, &[&set.evaluation, &set.public]))?;
    say!("Wrote {}: keep it secret.", args.secret.display());
    let size = (set.evaluation.len() + set.public.len()) as u64;
    say!("Wrote {}: {} for the service.", args.output.display(), screen::bytes(size));
    Ok(())
}

/// For its owner's eyes alone; a file that is there stays.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::Input(format!("--secret {}: it exists already, and keys are not overwritten", path.display()))
        }
        _ => Error::Io { path: path.to_owned(), source },
    };
    let mut file = options.open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)
}

fn client(public: &Path, secret: &Path) -> Result<(Client, [u8; 32])> {
    let (public, digest) = known(public)?;
    let bytes = SecretBytes::new(read(secret)?);
    let name = secret.display().to_string();
    let parts = files::read(&name, Kind::Secret, Some(&digest), &bytes)?;
    let secret = parts.first().ok_or_else(|| Error::Input(format!("{name}: found nothing in it")))?;
    let client = Client::with_secret(public, &Device::cpu(), secret);
    Ok((client.map_err(|e| Error::Input(format!("{name}: {e}")))?, digest))
}

fn encrypt(args: &CkksEncrypt) -> Result<()> {
    let inputs = [("--public", &*args.public), ("--secret", &*args.secret), ("--input", &*args.input)];
    check_outputs(&inputs, &[("--output", &args.output)])?;
    let (client, digest) = client(&args.public, &args.secret)?;
    let array = Array::load(&args.input)?;
    let layout = &client.public().input;
    let each = layout.plane() * layout.columns();
    if array.values.is_empty() || array.values.len() % each != 0 {
        let (shown, dims) = (args.input.display(), &array.dims);
        return Err(Error::Input(format!("{shown}: found an array of {dims:?}, expected inputs of {each} values")));
    }
    let mut prng = Prng::from_os()?;
    let parts = array.values.chunks(each).map(|x| client.encrypt(x, &mut prng)).collect::<Result<Vec<_>>>()?.concat();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    write(&args.output, &files::write(Kind::Input, &digest, &parts))?;
    say!("Wrote {}: {} inputs.", args.output.display(), array.values.len() / each);
    Ok(())
}

fn evaluated(args: &CkksEvaluate) -> Result<()> {
    check_outputs(&[("--keys", &args.keys), ("--input", &args.input)], &[("--output", &args.output)])?;
    let model = model(&args.model, args.preset)?;
    let digest = model.public().digest()?;
    let (keys, input) = (read(&args.keys)?, read(&args.input)?);
    let name = args.keys.display().to_string();
    let parts = files::read(&name, Kind::Keys, Some(&digest), &keys)?;
    let [evaluation, public] = parts[..] else {
        return Err(Error::Input(format!("{name}: found {} parts of a key set, expected 2", parts.len())));
    };
    let set = KeySet { evaluation: evaluation.to_vec(), public: public.to_vec() };
    let mine = |file: &PathBuf| {
        let file = file.display().to_string();
        move |e: Error| Error::Input(format!("{file}: {e}"))
    };
    let keys = ClientKeys::read(&set, &model, &Device::cpu()).map_err(mine(&args.keys))?;
    let input = files::read(&args.input.display().to_string(), Kind::Input, Some(&digest), &input)?;
    let each = model.public().inputs();
    if input.is_empty() || input.len() % each != 0 {
        let (file, found) = (args.input.display(), input.len());
        return Err(Error::Input(format!("{file}: found {found} ciphertexts, expected {each} an input")));
    }
    let (input, images): (Vec<Vec<u8>>, _) = (input.iter().map(|part| part.to_vec()).collect(), input.len() / each);
    let results =
        evaluate((&model, &keys), &input, images, &mut Prng::from_os()?, |_| {}).map_err(mine(&args.input))?;
    let results: Vec<&[u8]> = results.iter().map(Vec::as_slice).collect();
    write(&args.output, &files::write(Kind::Result, &digest, &results))?;
    say!("Wrote {}: {images} results.", args.output.display());
    if args.preset == CkksPreset::Fast {
        say!(
            "Preset fast: the weights are NOT hidden from a client that keeps many replies; --preset balanced hides them."
        );
    }
    Ok(())
}

fn decrypt(args: &CkksDecrypt) -> Result<()> {
    let inputs = [("--public", &*args.public), ("--secret", &*args.secret), ("--input", &*args.input)];
    check_outputs(&inputs, &[("--output", &args.output)])?;
    let (client, digest) = client(&args.public, &args.secret)?;
    let bytes = read(&args.input)?;
    let name = args.input.display().to_string();
    let parts = files::read(&name, Kind::Result, Some(&digest), &bytes)?;
    let each = client.public().results();
    if parts.is_empty() || parts.len() % each != 0 {
        let found = parts.len();
        return Err(Error::Input(format!("{name}: found {found} ciphertexts, expected {each} a result")));
    }
    let mut all = Vec::new();
    for (at, result) in parts.chunks(each).enumerate() {
        let result: Vec<Vec<u8>> = result.iter().map(|part| part.to_vec()).collect();
        let scores = client.decrypt(&result).map_err(|e| Error::Input(format!("{name}: {e}")))?;
        if !scores.doubts.is_empty() && !args.force {
            let doubts = scores.doubts.join("; ");
            return Err(Error::Input(format!(
                "{name}: result {at}: found {doubts}: its scores mean nothing (--force)"
            )));
        }
        scores.doubts.iter().for_each(|doubt| screen::warn(&format!("result {at}: not to be trusted: {doubt}")));
        all.extend(scores.values.iter().map(|&x| x as f32));
    }
    let output = &client.public().output;
    let dims = [all.len() / (output.plane() * output.columns()), output.channels];
    let dims = [&dims[..], &output.dims[..]].concat();
    write(&args.output, &blindvox_models::data::npy::reals(&dims, &all))?;
    say!("Wrote {}: scores, {dims:?}.", args.output.display());
    Ok(())
}
