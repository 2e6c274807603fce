import { it } from "vitest";
import { startProduct } from "./started.ts";
it("x", async () => {
  console.time("start");
  const p = await startProduct({replicas: 2});
  console.timeEnd("start");
  console.log(p.output(), p.replicas, p.edgePid);
  console.log(await (await fetch(p.url+"/metrics")).text());
  const post = async (b: unknown) => { const r = await fetch(p.url+"/v1/chat/completions",{method:"POST",headers:p.headers,body:JSON.stringify(b)}); console.log(r.status,[...r.headers], await r.text()); return r.headers.get("x-request-id"); };
  const id = await post({model:p.model,max_tokens:20,temperature:0,messages:[{role:"user",content:"hi"}]});
  await post({model:p.model,max_tokens:5,stream:true,stream_options:{include_usage:true},temperature:0,messages:[{role:"user",content:"hi"}]});
  console.log(await (await fetch(p.url+"/v1/decisions/"+id,{headers:p.headers})).text());
  console.time("stop");
  await p.stop();
  console.timeEnd("stop");
});
