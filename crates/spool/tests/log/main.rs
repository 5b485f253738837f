//! A log from outside: what goes in comes out, whatever happens to its files and its process.

mod crash;
mod full;
mod kill;
mod model;
mod sample;
mod speed;
mod tail;
