// What a lane takes of a row: an element.

alias Element = f32;
