//! Compiling, which the cache saves where it can.

use wasmtime::component::Component;

use crate::artifact::Kind;
use crate::cache::Key;
use crate::error::{LoadError, plain};
use crate::runtime::Runtime;

/// Compiles what `make` makes of the sources, or takes what they were compiled to before; whether it did so. `make` runs
/// only if need be: code in the cache was made of sources that were found sound.
pub(crate) fn compile(
    runtime: &Runtime,
    kind: Kind,
    sources: &[&[u8]],
    make: impl FnOnce() -> Result<Vec<u8>, LoadError>,
) -> Result<(Component, bool), LoadError> {
    let engine = runtime.engine();
    let cache = runtime.cache().map(|cache| (cache, Key::new(engine, kind, sources)));
    if let Some((cache, key)) = &cache
        && let Some(component) = cache.get(engine, key)
    {
        return Ok((component, true));
    }
    let compiled = Component::from_binary(engine, &make()?);
    let component = compiled.map_err(|error| LoadError::Compile(plain(&error)))?;
    if let Some((cache, key)) = &cache {
        cache.put(key, &component);
    }
    Ok((component, false))
}
