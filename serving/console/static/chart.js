// A chart of the ECharts that NiceGUI brings, drawn as SVG. It is drawn as soon as it is mounted:
// NiceGUI's own component draws later, and fails where the chart has left the page by then.
import { echarts } from "nicegui-echart";

export default {
  template: "<div></div>",
  props: { options: Object, renderer: String, theme: String, enable3d: Boolean },

  mounted() {
    this.chart = echarts.init(this.$el, null, { renderer: this.renderer });
    this.observer = new ResizeObserver(() => this.chart.resize());
    this.observer.observe(this.$el);
    this.update_chart();
  },

  beforeUnmount() {
    this.observer.disconnect();
    this.chart.dispose();
  },

  methods: {
    update_chart() {
      this.chart.setOption(this.options, { notMerge: true });
    },
  },
};
