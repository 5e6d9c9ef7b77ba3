// What a lane takes of a row, where rows are whole vec4s: four elements.

alias Element = vec4<f32>;
