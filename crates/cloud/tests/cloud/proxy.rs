//! A TCP proxy that cuts its first connections after some bytes, as a dying load balancer does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    pub address: SocketAddr,
    pub cuts: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Cut up to `cuts` connections that have sent more than `after` bytes.
    pub async fn start(to: SocketAddr, after: usize, cuts: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU32::new(cuts));
        let cuts = Arc::clone(&left);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    let _ = relay(client, to, after, &left).await;
                });
            }
        });
        Self { address, cuts, task }
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr, after: usize, left: &AtomicU32) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    let (mut sent, mut up, mut down) = (0, vec![0; 16384], vec![0; 16384]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                sent += read;
                let cut = |left: u32| left.checked_sub(1);
                if sent > after && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() {
                    return Ok(());
                }
                server.write_all(&up[..read]).await?;
            }
            read = server.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                client.write_all(&down[..read]).await?;
            }
        }
    }
}
