//! The one list of backends. A [`Device`] is one of them and is itself a [`Backend`], so upper code names none.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::{Backend, Domain, GemmShape, Integers, Limbs, Part, Shape, TableUse};
use crate::cpu::{self, Cpu};
use crate::error::{Error, Result};
use crate::garble::GateHash;
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Galois};
use crate::wgpu::{GateBatch, GateBatchSize, GpuOptions, Rates, Wgpu};

/// Gives a concrete backend its own kind of an object out of a [`DeviceBuffer`] or [`DeviceTables`].
trait Variant: Backend {
    fn wrap(buffer: Self::Buffer) -> DeviceBuffer;
    fn own(buffer: DeviceBuffer) -> Result<Self::Buffer>;
    fn of(buffer: &DeviceBuffer) -> Result<&Self::Buffer>;
    fn of_mut(buffer: &mut DeviceBuffer) -> Result<&mut Self::Buffer>;
    fn tables_of(tables: &DeviceTables) -> Result<&Self::Tables>;
}

macro_rules! backends {
    ($($(#[$doc:meta])* $Name:ident($Type:ty)),* $(,)?) => {
        enum Inner { $($(#[$doc])* $Name($Type)),* }

        /// A buffer of one of the backends.
        #[non_exhaustive]
        pub enum DeviceBuffer { $($(#[$doc])* $Name(<$Type as Backend>::Buffer)),* }

        /// Tables of one of the backends.
        #[non_exhaustive]
        pub enum DeviceTables { $($(#[$doc])* $Name(<$Type as Backend>::Tables)),* }

        $(impl Variant for $Type {
            fn wrap(buffer: Self::Buffer) -> DeviceBuffer { DeviceBuffer::$Name(buffer) }
            #[allow(unreachable_patterns)]
            fn own(buffer: DeviceBuffer) -> Result<Self::Buffer> {
                match buffer { DeviceBuffer::$Name(b) => Ok(b), _ => Err(mismatch()) }
            }
            #[allow(unreachable_patterns)]
            fn of(buffer: &DeviceBuffer) -> Result<&Self::Buffer> {
                match buffer { DeviceBuffer::$Name(b) => Ok(b), _ => Err(mismatch()) }
            }
            #[allow(unreachable_patterns)]
            fn of_mut(buffer: &mut DeviceBuffer) -> Result<&mut Self::Buffer> {
                match buffer { DeviceBuffer::$Name(b) => Ok(b), _ => Err(mismatch()) }
            }
            #[allow(unreachable_patterns)]
            fn tables_of(tables: &DeviceTables) -> Result<&Self::Tables> {
                match tables { DeviceTables::$Name(t) => Ok(t), _ => Err(mismatch()) }
            }
        })*

        impl State {
            fn tables(&self, basis: &Basis) -> Result<DeviceTables> {
                match &self.inner { $(Inner::$Name(b) => Ok(DeviceTables::$Name(b.tables(basis)?))),* }
            }
        }

        macro_rules! on {
            ($device:expr, $B:ident, $b:ident => $call:expr) => {
                match &$device.0.inner { $(Inner::$Name($b) => { type $B = $Type; $call })* }
            };
        }
    };
}

backends! {
    /// Main memory and the rayon pool.
    Cpu(Cpu),
    /// A Vulkan adapter.
    Wgpu(Wgpu),
}

/// What a device's kernels run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU backend.
    Cpu,
    /// A GPU.
    Gpu,
    /// A Vulkan driver that runs shaders on the CPU: right, and slower than the CPU backend at everything.
    SoftwareGpu,
}

struct State {
    inner: Inner,
}

/// A handle to one device; clones are the same device.
#[derive(Clone)]
pub struct Device(Arc<State>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.describe())
    }
}

fn mismatch() -> Error {
    Error::DeviceMismatch("a buffer of one backend was given to another".to_owned())
}

impl Device {
    fn new(inner: Inner) -> Self {
        Self(Arc::new(State { inner }))
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self::new(Inner::Cpu(Cpu::default()))
    }

    /// The CPU with a code path of one's choice, for tests and benchmarks; an error if the processor lacks it.
    pub fn cpu_with_body(body: cpu::Body) -> Result<Self> {
        Ok(Self::new(Inner::Cpu(Cpu::with_body(body)?)))
    }

    /// The first usable adapter with default options.
    pub fn gpu() -> Result<Self> {
        Self::gpu_with(&GpuOptions::default())
    }

    /// The adapter that the options ask for, opened; an error says which adapters there are and what they lack.
    pub fn gpu_with(options: &GpuOptions) -> Result<Self> {
        Ok(Self::new(Inner::Wgpu(Wgpu::open(options)?)))
    }

    /// Room for a batch of half-gates on a GPU, see [`Wgpu::gate_batch`].
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU, where [`crate::garble`] works on labels in main memory.
    pub fn gate_batch(&self, hash: GateHash, size: GateBatchSize) -> Result<GateBatch> {
        match &self.0.inner {
            Inner::Wgpu(gpu) => gpu.gate_batch(hash, size),
            Inner::Cpu(_) => Err(Error::Device("batches of gates are resident on a GPU only".to_owned())),
        }
    }

    /// What the device's kernels run on.
    pub fn kind(&self) -> DeviceKind {
        match &self.0.inner {
            Inner::Cpu(_) => DeviceKind::Cpu,
            Inner::Wgpu(gpu) if gpu.is_software() => DeviceKind::SoftwareGpu,
            Inner::Wgpu(_) => DeviceKind::Gpu,
        }
    }

    /// Whether the time that gates take does not depend on their labels, see [`Wgpu::hashes_in_constant_time`].
    pub fn hashes_in_constant_time(&self, hash: GateHash) -> bool {
        match &self.0.inner {
            Inner::Cpu(_) => true,
            Inner::Wgpu(gpu) => gpu.hashes_in_constant_time(hash),
        }
    }

    /// Waits until all that was asked of the device is done.
    pub fn synchronize(&self) -> Result<()> {
        match &self.0.inner {
            Inner::Cpu(_) => Ok(()),
            Inner::Wgpu(gpu) => gpu.synchronize(),
        }
    }

    /// What a GPU can do at best, measured; see [`Wgpu::rates`].
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU.
    pub fn gpu_rates(&self) -> Result<Rates> {
        match &self.0.inner {
            Inner::Wgpu(gpu) => gpu.rates(),
            Inner::Cpu(_) => Err(Error::Device("only GPUs are probed".to_owned())),
        }
    }

    /// Whether both are handles to one device.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Backend for Device {
    type Buffer = DeviceBuffer;
    type Tables = DeviceTables;

    fn describe(&self) -> String {
        on!(self, B, b => B::describe(b))
    }

    fn tables(&self, basis: &Basis) -> Result<DeviceTables> {
        self.0.tables(basis)
    }

    fn table_use(&self) -> TableUse {
        on!(self, B, b => B::table_use(b))
    }

    fn upload(&self, t: &DeviceTables, shape: Shape, domain: Domain, host: &[u64]) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.upload(B::tables_of(t)?, shape, domain, host)?)))
    }

    fn download(&self, t: &DeviceTables, shape: Shape, domain: Domain, buffer: &DeviceBuffer) -> Result<Vec<u64>> {
        on!(self, B, b => b.download(B::tables_of(t)?, shape, domain, B::of(buffer)?))
    }

    fn zeros(&self, t: &DeviceTables, shape: Shape) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.zeros(B::tables_of(t)?, shape)?)))
    }

    fn duplicate(&self, buffer: &DeviceBuffer) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.duplicate(B::of(buffer)?)?)))
    }

    fn add_lifted(
        &self,
        t: &DeviceTables,
        shape: Shape,
        acc: &mut DeviceBuffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()> {
        on!(self, B, b => b.add_lifted(B::tables_of(t)?, shape, B::of_mut(acc)?, values, scale))
    }

    fn lift(&self, t: &DeviceTables, shape: Shape, values: &[i32], scale: &[u64]) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.lift(B::tables_of(t)?, shape, values, scale)?)))
    }

    fn expand_uniform(&self, t: &DeviceTables, shape: Shape, seed: &PublicSeed, first: u32) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.expand_uniform(B::tables_of(t)?, shape, seed, first)?)))
    }

    fn ntt_forward(&self, t: &DeviceTables, shape: Shape, buffer: DeviceBuffer) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.ntt_forward(B::tables_of(t)?, shape, B::own(buffer)?)?)))
    }

    fn ntt_forward_parts(&self, t: &DeviceTables, shape: Shape, part: Part<'_, DeviceBuffer>) -> Result<DeviceBuffer> {
        on!(self, B, b => {
            Ok(B::wrap(b.ntt_forward_parts(B::tables_of(t)?, shape, &|range| B::own(part(range)?))?))
        })
    }

    fn extract(
        &self,
        t: &DeviceTables,
        shape: Shape,
        buffer: &DeviceBuffer,
        range: Range<usize>,
    ) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.extract(B::tables_of(t)?, shape, B::of(buffer)?, range)?)))
    }

    fn limbs(
        &self,
        t: &DeviceTables,
        shape: Shape,
        domain: Domain,
        from: Limbs<'_, DeviceBuffer>,
    ) -> Result<DeviceBuffer> {
        on!(self, B, b => {
            let from = Limbs { buffer: B::of(from.buffer)?, limbs: from.limbs, map: from.map };
            Ok(B::wrap(b.limbs(B::tables_of(t)?, shape, domain, from)?))
        })
    }

    fn ntt_inverse(&self, t: &DeviceTables, shape: Shape, buffer: DeviceBuffer) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.ntt_inverse(B::tables_of(t)?, shape, B::own(buffer)?)?)))
    }

    fn ntt_inverse_of_product(
        &self,
        t: &DeviceTables,
        shape: Shape,
        x: DeviceBuffer,
        y: &DeviceBuffer,
        y_batch: usize,
    ) -> Result<DeviceBuffer> {
        on!(self, B, b => {
            Ok(B::wrap(b.ntt_inverse_of_product(B::tables_of(t)?, shape, B::own(x)?, B::of(y)?, y_batch)?))
        })
    }

    fn ntt_forward_mul_add(
        &self,
        t: &DeviceTables,
        shape: Shape,
        x: DeviceBuffer,
        [s0, s1]: [&mut DeviceBuffer; 2],
        [f0, f1]: [&DeviceBuffer; 2],
        factor_batch: usize,
    ) -> Result<()> {
        on!(self, B, b => {
            let (sums, factors) = ([B::of_mut(s0)?, B::of_mut(s1)?], [B::of(f0)?, B::of(f1)?]);
            b.ntt_forward_mul_add(B::tables_of(t)?, shape, B::own(x)?, sums, factors, factor_batch)
        })
    }

    fn add_assign(&self, t: &DeviceTables, shape: Shape, x: &mut DeviceBuffer, y: &DeviceBuffer) -> Result<()> {
        on!(self, B, b => b.add_assign(B::tables_of(t)?, shape, B::of_mut(x)?, B::of(y)?))
    }

    fn sub_assign(&self, t: &DeviceTables, shape: Shape, x: &mut DeviceBuffer, y: &DeviceBuffer) -> Result<()> {
        on!(self, B, b => b.sub_assign(B::tables_of(t)?, shape, B::of_mut(x)?, B::of(y)?))
    }

    fn negate_assign(&self, t: &DeviceTables, shape: Shape, x: &mut DeviceBuffer) -> Result<()> {
        on!(self, B, b => b.negate_assign(B::tables_of(t)?, shape, B::of_mut(x)?))
    }

    fn mul_assign(
        &self,
        t: &DeviceTables,
        shape: Shape,
        x: &mut DeviceBuffer,
        y: &DeviceBuffer,
        y_batch: usize,
    ) -> Result<()> {
        on!(self, B, b => b.mul_assign(B::tables_of(t)?, shape, B::of_mut(x)?, B::of(y)?, y_batch))
    }

    fn mul_add_assign(
        &self,
        t: &DeviceTables,
        shape: Shape,
        acc: &mut DeviceBuffer,
        x: &DeviceBuffer,
        y: &DeviceBuffer,
        y_batch: usize,
    ) -> Result<()> {
        on!(self, B, b => b.mul_add_assign(B::tables_of(t)?, shape, B::of_mut(acc)?, B::of(x)?, B::of(y)?, y_batch))
    }

    fn mul_scalar_assign(&self, t: &DeviceTables, shape: Shape, x: &mut DeviceBuffer, scalars: &[u64]) -> Result<()> {
        on!(self, B, b => b.mul_scalar_assign(B::tables_of(t)?, shape, B::of_mut(x)?, scalars))
    }

    fn gemm(
        &self,
        t: &DeviceTables,
        size: GemmShape,
        w: Limbs<'_, DeviceBuffer>,
        x: &[&DeviceBuffer],
    ) -> Result<Vec<DeviceBuffer>> {
        on!(self, B, b => {
            let x = x.iter().map(|x| B::of(x)).collect::<Result<Vec<_>>>()?;
            let w = Limbs { buffer: B::of(w.buffer)?, limbs: w.limbs, map: w.map };
            Ok(b.gemm(B::tables_of(t)?, size, w, &x)?.into_iter().map(B::wrap).collect())
        })
    }

    fn gemm_constants(
        &self,
        t: &DeviceTables,
        basis: &Basis,
        size: GemmShape,
        w: &[i32],
        x: &[&DeviceBuffer],
    ) -> Result<Vec<DeviceBuffer>> {
        on!(self, B, b => {
            let x = x.iter().map(|x| B::of(x)).collect::<Result<Vec<_>>>()?;
            Ok(b.gemm_constants(B::tables_of(t)?, basis, size, w, &x)?.into_iter().map(B::wrap).collect())
        })
    }

    fn mod_up(
        &self,
        t: &DeviceTables,
        to: &DeviceTables,
        shape: Shape,
        from: Limbs<'_, DeviceBuffer>,
    ) -> Result<DeviceBuffer> {
        on!(self, B, b => {
            let from = Limbs { buffer: B::of(from.buffer)?, limbs: from.limbs, map: from.map };
            Ok(B::wrap(b.mod_up(B::tables_of(t)?, B::tables_of(to)?, shape, from)?))
        })
    }

    fn mod_down(&self, t: &DeviceTables, shape: Shape, kept: usize, buffer: DeviceBuffer) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.mod_down(B::tables_of(t)?, shape, kept, B::own(buffer)?)?)))
    }

    fn reduce(&self, t: &DeviceTables, shape: Shape, values: Integers<'_>) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.reduce(B::tables_of(t)?, shape, values)?)))
    }

    fn automorphism(
        &self,
        t: &DeviceTables,
        shape: Shape,
        domain: Domain,
        buffer: &DeviceBuffer,
        galois: Galois,
    ) -> Result<DeviceBuffer> {
        on!(self, B, b => Ok(B::wrap(b.automorphism(B::tables_of(t)?, shape, domain, B::of(buffer)?, galois)?)))
    }
}
