//! blindvox shaders.
