// One job for each step, by pg-boss: COUNT times fetch, complete and send the next one, in CLIENTS loops
// at once. node pg_boss.mjs HOST USER DATABASE CLIENTS COUNT; prints "steps NUMBER seconds TIME".
import PgBoss from 'pg-boss';

const [host, user, database, ...numbers] = process.argv.slice(2);
const [clients, count] = numbers.map(Number);
const boss = new PgBoss({host, user, database, max: clients, supervise: false, schedule: false});
boss.on('error', (error) => { throw error; });
await boss.start();
const queue = `steps-${Date.now()}`; // each run begins with an empty one
await boss.createQueue(queue);
for (let i = 0; i < 2 * clients; i++) // so that a loop finds one while another locks its own
    await boss.send(queue, {migration: i, step: 0});

async function play(steps) {
    for (let i = 0; i < steps; i++) {
        let job;
        while (!job)
            [job] = await boss.fetch(queue);
        await boss.complete(queue, job.id);
        await boss.send(queue, {...job.data, step: job.data.step + 1});
    }
}
const begin = performance.now();
const each = Math.floor(count / clients);
await Promise.all(Array.from({length: clients}, () => play(each)));
const seconds = (performance.now() - begin) / 1000;
console.log(`steps ${each * clients} seconds ${seconds.toFixed(6)}`);
await boss.stop({graceful: false});
