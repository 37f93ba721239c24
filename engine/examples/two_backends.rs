//! One matrix product over polynomials on a CPU and on a GPU: the same residues. `cargo run --release --example
//! two_backends`.

use std::time::Instant;

use blindvox_engine::ring::primes::DEFAULT_50;
use blindvox_engine::{Basis, Device, GemmShape, PolyBatch, Result, gpu};

/// The product's residues, and the milliseconds it took.
fn product(device: &Device, basis: &Basis, size: GemmShape) -> Result<(Vec<u64>, f64)> {
    let w = PolyBatch::uniform(device, basis, &[1; 16], 0, size.rows * size.inner)?;
    let x = PolyBatch::uniform(device, basis, &[2; 16], 0, size.inner * size.cols)?;
    // Kernels may be compiled at their first use.
    w.gemm([&x], size)?;
    device.synchronize()?;
    let start = Instant::now();
    let [y] = w.gemm([&x], size)?;
    device.synchronize()?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    Ok((y.into_coeff()?.download()?, time))
}

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let basis = Basis::new(4096, &DEFAULT_50[..2])?;
    let size = GemmShape { rows: 8, inner: 16, cols: 8 };
    let cpu = Device::cpu();
    let (expected, time) = product(&cpu, &basis, size)?;
    println!("{}: {time:.2} ms", cpu.describe());
    let usable = gpu::adapters().iter().any(|adapter| adapter.unusable.is_none());
    if !usable {
        println!("{}", gpu::why_no_gpu().unwrap_or_else(|| "no usable GPU".to_owned()));
        return Ok(());
    }
    let device = Device::gpu()?;
    let (found, time) = product(&device, &basis, size)?;
    println!("{}: {time:.2} ms", device.describe());
    assert!(found == expected, "residues do not depend on the device");
    Ok(())
}
