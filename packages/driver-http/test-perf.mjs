import { Graph } from '@diskgraph/core'
import { http } from './dist/index.js'
const graph = new Graph({ drivers: [http] })
const n = Number(process.argv[2] ?? 128)*2**20
const run = async (len, depth, limit) => { const disk = await graph.add({ driver: 'http', url: 'http://127.0.0.1:18099/x' }); let at=0; const t=performance.now(); await Promise.all(Array.from({length:depth}, async()=>{ const b=new Uint8Array(len); while(at<limit){const o=at; at+=len; await disk.read(o,b)} })); const s=(performance.now()-t)/1e3; await disk.close(); return `${(limit/2**20/s).toFixed(0)} MiB/s` }
console.log('4k d1', await run(4096,1,n/4), '64k d1', await run(65536,1,n), '1M d1', await run(2**20,1,n), '1M d4', await run(2**20,4,n), '2M d8', await run(2**21,8,n))
await graph.close()
