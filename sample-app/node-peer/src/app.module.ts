/** The application: one mesh node, a client for the Python peer, and what they are used for. */
import { Module } from '@nestjs/common';
import { MeshModule } from 'nestjs-mesh';
import { Chat } from './chat.js';
import { GreetingController } from './greeting.controller.js';
import { HttpController } from './http.controller.js';
import { readSettings } from './settings.js';

@Module({
  imports: [
    MeshModule.forRootAsync({
      useFactory: () => {
        const { registry, host, port, advertise } = readSettings();
        return { service: 'node-peer', registry, host, port, advertise };
      },
    }),
    MeshModule.forFeature(['python-peer']),
  ],
  controllers: [GreetingController, HttpController],
  providers: [Chat],
})
export class AppModule {}
