import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { raw } from '@diskgraph/driver-raw'
import { qcow2 } from '@diskgraph/driver-qcow2'
for (let k=0;k<3;k++){
const t=performance.now(); const c=process.cpuUsage()
const g=new Graph({drivers:[file,raw,qcow2],maxDepth:1001})
const d=await g.open('/tmp/chain-test/1000',{format:'qcow2'})
console.log('open 1000 qcow2', performance.now()-t, process.cpuUsage(c), process.memoryUsage().rss/1e6)
await g.close(); }
