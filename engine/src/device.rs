//! The one list of backends. A [`Device`] is one of them and has their kernels, so upper code names none.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::adapters::{GpuOptions, Rates};
use crate::backend::recorded::{Items, Recorded};
use crate::backend::{
    Backend, DeviceKind, Domain, GaloisMaps, Gates, GemmShape, InDigits, Integers, Lift, Limbs, Memory, MirroredSums,
    MulShape, Part, Pointwise, Product, Ran, Rns, Room, RoomSize, Run, Shape, TableUse, Transform,
};
use crate::cpu::{self, Cpu};
use crate::error::{Error, Result};
use crate::garble::GateHash;
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Galois};
#[cfg(feature = "wgpu")]
use crate::wgpu::Wgpu;

/// Gives a concrete backend its own kind of an object out of a [`DeviceBuffer`] or [`DeviceTables`].
trait Variant: Backend {
    fn wrap(buffer: Self::Buffer) -> DeviceBuffer;
    fn own(buffer: DeviceBuffer) -> Result<Self::Buffer>;
    fn of(buffer: &DeviceBuffer) -> Result<&Self::Buffer>;
    fn of_mut(buffer: &mut DeviceBuffer) -> Result<&mut Self::Buffer>;
    fn tables_of(tables: &DeviceTables) -> Result<&Self::Tables>;
}

macro_rules! backends {
    ($($(#[$doc:meta])* $Name:ident($Type:ty) $(if $feature:literal)?),* $(,)?) => {
        enum Inner { $($(#[$doc])* $(#[cfg(feature = $feature)])? $Name($Type)),* }

        /// A buffer of one of the backends.
        pub(crate) enum DeviceBuffer { $($(#[$doc])* $(#[cfg(feature = $feature)])? $Name(<$Type as Memory>::Buffer)),* }

        /// Tables of one of the backends.
        pub(crate) enum DeviceTables { $($(#[$doc])* $(#[cfg(feature = $feature)])? $Name(<$Type as Memory>::Tables)),* }

        $($(#[cfg(feature = $feature)])? impl Variant for $Type {
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
                match &self.inner {
                    $($(#[cfg(feature = $feature)])? Inner::$Name(b) => Ok(DeviceTables::$Name(b.tables(basis)?))),*
                }
            }
        }

        macro_rules! on {
            ($device:expr, $B:ident, $b:ident => $call:expr) => {
                match &$device.0.inner {
                    $($(#[cfg(feature = $feature)])? Inner::$Name($b) => { type $B = $Type; $call })*
                }
            };
        }
    };
}

backends! {
    /// Main memory and the rayon pool.
    Cpu(Cpu),
    /// A Vulkan adapter.
    Wgpu(Wgpu) if "wgpu",
}

/// The type of a parameter in a row of [`delegate`], and what the backend is given for it.
macro_rules! parameter {
    (type tables) => { &DeviceTables };
    (type owned) => { DeviceBuffer };
    (type shared) => { &DeviceBuffer };
    (type exclusive) => { &mut DeviceBuffer };
    (type shared_pair) => { [&DeviceBuffer; 2] };
    (type exclusive_pair) => { [&mut DeviceBuffer; 2] };
    (type many) => { &[&DeviceBuffer] };
    (type view) => { Limbs<'_, DeviceBuffer> };
    (type part) => { Part<'_, DeviceBuffer> };
    (type ($Type:ty)) => { $Type };
    ($B:ident, $x:ident, tables) => { $B::tables_of($x)? };
    ($B:ident, $x:ident, owned) => { $B::own($x)? };
    ($B:ident, $x:ident, shared) => { $B::of($x)? };
    ($B:ident, $x:ident, exclusive) => { $B::of_mut($x)? };
    ($B:ident, $x:ident, shared_pair) => {{
        let [first, second] = $x;
        [$B::of(first)?, $B::of(second)?]
    }};
    ($B:ident, $x:ident, exclusive_pair) => {{
        let [first, second] = $x;
        [$B::of_mut(first)?, $B::of_mut(second)?]
    }};
    ($B:ident, $x:ident, many) => { &$x.iter().map(|x| $B::of(x)).collect::<Result<Vec<_>>>()? };
    ($B:ident, $x:ident, view) => { Limbs { buffer: $B::of($x.buffer)?, limbs: $x.limbs, map: $x.map } };
    ($B:ident, $x:ident, part) => { &|range| $B::own($x(range)?) };
    ($B:ident, $x:ident, ($Type:ty)) => { $x };
}

/// The type that a row of [`delegate`] returns, and how it is made of what the backend does.
macro_rules! returned {
    (type buffer) => { DeviceBuffer };
    (type buffers) => { Vec<DeviceBuffer> };
    (type ($Type:ty)) => { $Type };
    ($B:ident, $call:expr, buffer) => { Ok($B::wrap($call?)) };
    ($B:ident, $call:expr, buffers) => { Ok($call?.into_iter().map($B::wrap).collect()) };
    ($B:ident, $call:expr, ($Type:ty)) => { $call };
}

/// Implements the traits of kernels by handing each on to the backend that the device is: a row a kernel.
macro_rules! delegate {
    ($($Trait:ident { $($own:tt)* } { $($name:ident($($x:ident: $kind:tt),* $(,)?) -> $ret:tt;)* })*) => {
        $(impl $Trait for Device {
            $($own)*
            $(fn $name(&self, $($x: parameter!(type $kind)),*) -> Result<returned!(type $ret)> {
                on!(self, B, b => returned!(B, b.$name($(parameter!(B, $x, $kind)),*), $ret))
            })*
        })*

        /// The names of all kernels.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($(stringify!($name)),*),*];
    };
}

struct State {
    inner: Inner,
    /// Whether chains go step by step although the backend has a way of its own.
    by_steps: bool,
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
        Self(Arc::new(State { inner, by_steps: false }))
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self::new(Inner::Cpu(Cpu::default()))
    }

    /// The CPU with a code path of one's choice, for tests and benchmarks; an error if the processor lacks it.
    pub(crate) fn cpu_with_body(body: cpu::Body) -> Result<Self> {
        Ok(Self::new(Inner::Cpu(Cpu::with_body(body)?)))
    }

    /// The CPU, chains going step by step over whole batches as on other devices: for tests and benchmarks.
    pub(crate) fn cpu_by_steps() -> Self {
        Self(Arc::new(State { inner: Inner::Cpu(Cpu::default()), by_steps: true }))
    }

    /// The first usable adapter with default options.
    pub fn gpu() -> Result<Self> {
        Self::gpu_with(&GpuOptions::default())
    }

    /// The adapter that the options ask for, opened.
    ///
    /// # Errors
    /// [`Error::NoDevice`], which says which adapters there are and what they lack; always without the feature `wgpu`.
    pub fn gpu_with(options: &GpuOptions) -> Result<Self> {
        #[cfg(feature = "wgpu")]
        return Ok(Self::new(Inner::Wgpu(Wgpu::open(options)?)));
        #[cfg(not(feature = "wgpu"))]
        {
            let _ = options;
            Err(Error::NoDevice(crate::backend::adapters::NOT_BUILT.to_owned()))
        }
    }

    /// The device in words, for reports.
    pub fn describe(&self) -> String {
        on!(self, B, b => B::describe(b))
    }

    /// What the device's kernels run on.
    pub fn kind(&self) -> DeviceKind {
        on!(self, B, b => B::kind(b))
    }

    /// Waits until all that was asked of the device is done.
    ///
    /// # Errors
    /// Those of anything that was asked of it.
    pub fn synchronize(&self) -> Result<()> {
        on!(self, B, b => B::synchronize(b))
    }

    /// Whether the time that garbled gates take does not depend on their labels.
    #[doc(hidden)]
    pub fn hashes_in_constant_time(&self, hash: GateHash) -> bool {
        on!(self, B, b => B::hashes_in_constant_time(b, hash))
    }

    /// Makes the roots of the basis's primes ready, ahead of their first use.
    ///
    /// # Errors
    /// [`Error::Parameters`] for primes or a dimension that the device cannot do.
    pub fn make_ready(&self, basis: &Basis) -> Result<()> {
        self.0.tables(basis).map(drop)
    }

    /// What is kept of the primes so far.
    #[doc(hidden)]
    pub fn table_use(&self) -> TableUse {
        on!(self, B, b => B::table_use(b))
    }

    /// What a GPU can do at best, measured for about half a second.
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU.
    #[doc(hidden)]
    pub fn gpu_rates(&self) -> Result<Rates> {
        on!(self, B, b => B::rates(b))
    }

    /// Keeps a GPU at work for so long, so that it is at its full clock afterwards.
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU.
    #[doc(hidden)]
    pub fn keep_gpu_busy(&self, time: Duration) -> Result<()> {
        on!(self, B, b => B::keep_busy(b, time))
    }

    /// Whether both are handles to one device.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Run for Device {
    fn run<I: Items>(
        &self,
        chain: &Recorded,
        buffers: &[&DeviceBuffer],
        batch: usize,
        items: &I,
    ) -> Option<Ran<I::Output, DeviceBuffer>> {
        if self.0.by_steps {
            return None;
        }
        on!(self, B, b => {
            let buffers = match buffers.iter().map(|x| B::of(x)).collect::<Result<Vec<_>>>() {
                Ok(buffers) => buffers,
                Err(e) => return Some(Err(e)),
            };
            let done = b.run(chain, &buffers, batch, items)?;
            Some(done.map(|(outputs, points)| (outputs, points.map(B::wrap))))
        })
    }

    fn sums_of_mirrored(
        &self,
        t: &DeviceTables,
        sums: &MirroredSums<'_>,
        sources: &[&DeviceBuffer],
    ) -> Option<Vec<DeviceBuffer>> {
        if self.0.by_steps {
            return None;
        }
        on!(self, B, b => {
            // Places and shapes are checked by the batches that they are of.
            let sources = sources.iter().map(|x| B::of(x)).collect::<Result<Vec<_>>>().ok()?;
            let done = b.sums_of_mirrored(B::tables_of(t).ok()?, sums, &sources)?;
            Some(done.into_iter().map(B::wrap).collect())
        })
    }
}

impl Gates for Device {
    fn room(&self, hash: GateHash, size: RoomSize) -> Result<Box<dyn Room>> {
        on!(self, B, b => B::room(b, hash, size))
    }

    fn hashes_in_constant_time(&self, hash: GateHash) -> bool {
        Self::hashes_in_constant_time(self, hash)
    }
}

delegate! {
    Memory {
        type Buffer = DeviceBuffer;
        type Tables = DeviceTables;

        fn tables(&self, basis: &Basis) -> Result<DeviceTables> {
            self.0.tables(basis)
        }

        fn table_use(&self) -> TableUse {
            Self::table_use(self)
        }
    } {
        upload(t: tables, shape: (Shape), domain: (Domain), host: (&[u64])) -> buffer;
        download(t: tables, shape: (Shape), domain: (Domain), a: shared) -> (Vec<u64>);
        zeros(t: tables, shape: (Shape)) -> buffer;
        duplicate(a: shared) -> buffer;
        extract(t: tables, shape: (Shape), a: shared, range: (Range<usize>)) -> buffer;
        limbs(t: tables, shape: (Shape), domain: (Domain), from: view) -> buffer;
        stack(t: tables, shape: (Shape), domain: (Domain), parts: many, counts: (&[usize])) -> buffer;
    }
    Lift {} {
        add_lifted(t: tables, shape: (Shape), acc: exclusive, values: (&[i32]), scale: (&[u64])) -> (());
        lift(t: tables, shape: (Shape), values: (&[i32]), scale: (&[u64])) -> buffer;
        expand_uniform(t: tables, shape: (Shape), seed: (&PublicSeed), first: (u32)) -> buffer;
        reduce(t: tables, shape: (Shape), values: (Integers<'_>)) -> buffer;
    }
    Transform {} {
        ntt_forward(t: tables, shape: (Shape), a: owned) -> buffer;
        ntt_forward_parts(t: tables, shape: (Shape), part: part) -> buffer;
        ntt_inverse(t: tables, shape: (Shape), a: owned) -> buffer;
        ntt_forward_rows(t: tables, shape: (Shape), a: owned) -> buffer;
        ntt_inverse_rows(t: tables, shape: (Shape), a: owned) -> buffer;
        to_rows(t: tables, shape: (Shape), a: owned) -> buffer;
        to_panels(t: tables, shape: (Shape), a: owned) -> buffer;
        ntt_inverse_of_product(t: tables, size: (MulShape), a: owned, b: shared) -> buffer;
        ntt_forward_mul_add(
            t: tables, size: (MulShape), x: owned, sums: exclusive_pair, factors: shared_pair
        ) -> (());
    }
    Pointwise {} {
        add_assign(t: tables, shape: (Shape), a: exclusive, b: shared) -> (());
        sub_assign(t: tables, shape: (Shape), a: exclusive, b: shared) -> (());
        negate_assign(t: tables, shape: (Shape), a: exclusive) -> (());
        mul_assign(t: tables, size: (MulShape), a: exclusive, b: shared) -> (());
        mul_add_assign(t: tables, size: (MulShape), acc: exclusive, a: shared, b: shared) -> (());
        mul_scalar_assign(t: tables, shape: (Shape), a: exclusive, scalars: (&[u64])) -> (());
        add_scaled_assign(t: tables, shape: (Shape), acc: exclusive, x: shared, scalars: (&[u64])) -> (());
    }
    Product {} {
        gemm(t: tables, size: (GemmShape), w: view, x: many) -> buffers;
        tensor(t: tables, shape: (Shape), a: shared, b: shared) -> buffer;
        gemm_constants(t: tables, basis: (&Basis), size: (GemmShape), w: (&[i32]), x: many) -> buffers;
    }
    Rns {} {
        mod_up(t: tables, to: tables, shape: (Shape), from: view) -> buffer;
        mod_down(t: tables, shape: (Shape), kept: (usize), a: owned) -> buffer;
        mod_up_points(t: tables, to: tables, shape: (Shape), digits: (InDigits<'_>), x: shared) -> buffer;
        mod_down_points(t: tables, basis: (&Basis), shape: (Shape), kept: (usize), x: shared) -> buffer;
    }
    GaloisMaps {} {
        automorphism(t: tables, shape: (Shape), domain: (Domain), a: shared, galois: (Galois)) -> buffer;
    }
}
