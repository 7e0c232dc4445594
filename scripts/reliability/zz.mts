import { Shelf, mutatedImage, qcow2Fields, useMutated } from '@diskgraph/driver-testkit'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Graph, Flag } from '@diskgraph/core'
import { intactImages } from './images.ts'
{ const shelf=new Shelf(); shelf.put('i'); const g=new Graph({drivers:[qcow2,shelf.driver]}); const file={driver:'testkit-file',name:'i'}
await g.createUnchecked({driver:'qcow2',size:2**21,clusterSize:4096,compat:'v2',file}); const d=await g.addUnchecked({driver:'qcow2',file,discard:'unmap'})
const f=(l:number,n:number)=>new Uint8Array(l).fill(n)
await d.write(176128,f(4096,126),Flag.Compressed); await d.write(167936,f(102040,71)); await d.write(1165308,f(74,209)); await d.write(303104,f(4096,34),Flag.Compressed)
const b=new Uint8Array(74); await d.read(1165308,b); console.log('F6b', b.every(x=>x===209)?'fixed':'OPEN', (await d.check({repair:'none'})).corruptions) ; await g.close()}
const imgs=(await intactImages(true)).map(file=>({file,fields:qcow2Fields(file.bytes())}))
{ const m=mutatedImage(2026,8617,imgs); console.log(m.what); const t=performance.now(); const f=await useMutated({driver:qcow2},m.file,m.random); console.log(performance.now()-t,f) }
