//! A kernel: one WGSL file, its parameters and its bindings, as the host states them.

/// How a kernel uses a storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A field of a parameter struct: name, WGSL type, offset in bytes.
pub type Field = (&'static str, &'static str, usize);

/// A kernel's parameters: a struct of u32 and f32 scalars, bound as uniform at binding 0.
pub trait Params: bytemuck::Pod {
    /// The fields in order, for comparison with the shader.
    const FIELDS: &'static [Field];
}

/// Declares a parameter struct with its list of fields.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl $crate::device::kernel::Params for $name {
            const FIELDS: &'static [$crate::device::kernel::Field] = &[
                $((stringify!($field), stringify!($type), std::mem::offset_of!($name, $field)),)*
            ];
        }
    };
}
pub(crate) use params;

/// A WGSL file and what the host knows of it.
#[derive(Debug)]
pub struct Kernel {
    /// The file's name without `.wgsl`, unless several kernels are made of one file.
    pub name: &'static str,
    /// The file's name without `.wgsl`.
    pub file: &'static str,
    /// The file.
    pub source: &'static str,
    /// The parameter struct's fields; empty for a kernel without.
    pub fields: &'static [Field],
    /// The storage bindings from binding 1 on: name and access.
    pub bindings: &'static [(&'static str, Access)],
    /// Pipeline-overridable constants that the host sets.
    pub overrides: &'static [(&'static str, f64)],
    /// Pipeline-overridable booleans that a dispatch sets: bit i of its `switches` is the i-th.
    pub switches: &'static [&'static str],
}

impl Kernel {
    /// A kernel with parameters `P`, named like its file.
    pub const fn new<P: Params>(
        file: &'static str,
        source: &'static str,
        bindings: &'static [(&'static str, Access)],
        overrides: &'static [(&'static str, f64)],
    ) -> Self {
        Kernel {
            name: file,
            file,
            source,
            fields: P::FIELDS,
            bindings,
            overrides,
            switches: &[],
        }
    }

    /// The same by another name: one of the kernels that a file is compiled to, which differ in
    /// their overrides.
    pub const fn named(self, name: &'static str) -> Self {
        Kernel { name, ..self }
    }

    /// The same with switches: each setting of them is compiled on its own, so that what is
    /// switched off costs nothing. (On lavapipe both sides of an `if` are executed.)
    pub const fn with_switches(self, switches: &'static [&'static str]) -> Self {
        Kernel { switches, ..self }
    }

    /// All overridable constants for a setting of the switches.
    pub fn constants(&self, switches: u32) -> Vec<(&'static str, f64)> {
        let switched = self.switches.iter().enumerate();
        let switched = switched.map(|(i, name)| (*name, f64::from(switches >> i & 1)));
        self.overrides.iter().copied().chain(switched).collect()
    }
}

/// Most workgroups that WebGPU guarantees in one dimension of a dispatch.
const MAX_WORKGROUPS: u32 = 65_535;

/// The grid for a number of workgroups that a kernel numbers as
/// `workgroup_id.x + workgroup_id.y * num_workgroups.x`. It may hold a few more than asked for;
/// kernels return at once in those.
pub fn grid(workgroups: usize) -> [u32; 2] {
    let workgroups = u32::try_from(workgroups).unwrap_or(u32::MAX);
    let rows = workgroups.div_ceil(MAX_WORKGROUPS).max(1);
    [workgroups.div_ceil(rows), rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_workgroups_within_the_limit() {
        for workgroups in [1usize, 65_535, 65_536, 109_375, 10_000_019, 4_000_000_000] {
            let [x, y] = grid(workgroups);
            assert!(x <= MAX_WORKGROUPS && y <= MAX_WORKGROUPS);
            assert!(
                x as usize * y as usize >= workgroups,
                "{workgroups}: {x}x{y}"
            );
            assert!(x as usize * y as usize - workgroups < y as usize);
        }
        assert_eq!(grid(0)[0], 0);
    }
}
