//! A byte stream, plain or TLS, and its two halves. The plain halves take no lock.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::client::TlsStream;

/// A connected stream.
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// Within the process, for tests.
    #[cfg(feature = "memory")]
    Memory(tokio::io::DuplexStream),
}

/// The reading half of a [`Stream`].
pub enum ReadHalf {
    /// TCP.
    Plain(OwnedReadHalf),
    /// TLS over TCP.
    Tls(tokio::io::ReadHalf<Box<TlsStream<TcpStream>>>),
    /// Within the process, for tests.
    #[cfg(feature = "memory")]
    Memory(tokio::io::ReadHalf<tokio::io::DuplexStream>),
}

/// The writing half of a [`Stream`].
pub enum WriteHalf {
    /// TCP.
    Plain(OwnedWriteHalf),
    /// TLS over TCP.
    Tls(tokio::io::WriteHalf<Box<TlsStream<TcpStream>>>),
    /// Within the process, for tests.
    #[cfg(feature = "memory")]
    Memory(tokio::io::WriteHalf<tokio::io::DuplexStream>),
}

impl Stream {
    /// Both halves, for a reader and a writer that do not wait for each other.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(s) => {
                let (r, w) = s.into_split();
                (ReadHalf::Plain(r), WriteHalf::Plain(w))
            }
            Self::Tls(s) => {
                let (r, w) = tokio::io::split(s);
                (ReadHalf::Tls(r), WriteHalf::Tls(w))
            }
            #[cfg(feature = "memory")]
            Self::Memory(s) => {
                let (r, w) = tokio::io::split(s);
                (ReadHalf::Memory(r), WriteHalf::Memory(w))
            }
        }
    }
}

macro_rules! read {
    ($type:ident) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
                    Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
                    #[cfg(feature = "memory")]
                    Self::Memory(s) => Pin::new(s).poll_read(cx, buf),
                }
            }
        }
    };
}

macro_rules! write {
    ($type:ident) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
                    Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
                    #[cfg(feature = "memory")]
                    Self::Memory(s) => Pin::new(s).poll_write(cx, buf),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(s) => Pin::new(s).poll_flush(cx),
                    Self::Tls(s) => Pin::new(s).poll_flush(cx),
                    #[cfg(feature = "memory")]
                    Self::Memory(s) => Pin::new(s).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
                    Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
                    #[cfg(feature = "memory")]
                    Self::Memory(s) => Pin::new(s).poll_shutdown(cx),
                }
            }
        }
    };
}

read!(Stream);
write!(Stream);
read!(ReadHalf);
write!(WriteHalf);
